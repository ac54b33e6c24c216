"""Which cases of default_init there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.axes import Input
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.construction.cases import InitialCase, PaddingStepCase
from embcheck.families.default_init.programs import INITIALISERS, initialised, trained
from embcheck.families.lookup.cases import padding_of


def initial_plan(case: InitialCase) -> Plan:
    options = {"initialise": INITIALISERS[case.name], "rows": case.num_embeddings, "width": case.embedding_dim,
               "padding_idx": case.padding_idx, "dtype": case.dtype, "seed": case.seed}  # fmt: skip
    return Plan(initialised, {"weight": case.weight_input}, options)


def initial_cases() -> Iterator[InitialCase]:
    named = itertools.product(INITIALISERS, ("float32", "float64"), (None, 0, 5))
    for seed, (name, dtype, padding) in enumerate(named):
        yield InitialCase(64, 256, name, padding, dtype, seed=seed)
        yield InitialCase(256, 96, name, padding, dtype, seed=seed + 1000)
    yield InitialCase(1024, 768, padding_idx=7, seed=1)


#: Optimizers that leave a Parameter alone where its gradient is, and has always been, zero.
STILL = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "SparseAdam")


def step_plan(case: PaddingStepCase) -> Plan:
    options: dict[str, Any] = {"lr": 0.5}
    if case.optimizer == "SGD":
        options |= {"weight_decay": case.weight_decay, "momentum": case.momentum}
    if case.optimizer == "AdamW":
        options["weight_decay"] = 0.0
    fmt = case.format
    fed = {"weight": case.weight, "hidden": case.hidden}
    inputs = {name: Input(fmt.encode(values), case.dtype) for name, values in fed.items()}
    chosen = {"padding_idx": case.padding_idx, "optimizer": case.optimizer, "options": options, "head": case.head,
              "sparse": case.sparse, "steps": case.steps}  # fmt: skip
    return Plan(trained, inputs, chosen)


def step_canonical(case: PaddingStepCase) -> PaddingStepCase:
    """The case with an optimizer and flags that fit each other."""
    changes: dict[str, Any] = {"padding_idx": padding_of(case.padding_idx, case.num_embeddings)}
    if case.optimizer != "SGD":
        changes |= {"weight_decay": 0.0, "momentum": 0.0, "head": False}
    fitted = case.but(**changes)
    may = fitted.sparse and fitted.optimizer in ("SGD", "Adagrad") and not (fitted.weight_decay or fitted.head)
    return fitted.but(sparse=fitted.optimizer == "SparseAdam" or may)


def still_with_momentum() -> Iterator[PaddingStepCase]:
    """What every profile runs: momentum, where nothing else moves the row, and where all does."""
    yield PaddingStepCase(3, 2, 1, momentum=0.5, steps=2)
    yield PaddingStepCase(3, 2, 1, filled=True, weight_decay=0.25, momentum=0.5, head=True, steps=3)


INITIAL_SPACE = Space(
    InitialCase,
    {
        "num_embeddings": (64, 96, 256, 300),
        "embedding_dim": (256, 64, 100),
        "name": tuple(INITIALISERS),
        "padding_idx": (None, 0, 63),
        "dtype": ("float32", "float64"),
    },
    fixed_cases=initial_cases,
)

PADDING_TRAINING_SPACE = Space(
    PaddingStepCase,
    {
        "num_embeddings": (3, 1, 5),
        "embedding_dim": (2, 1, 17),
        "padding_idx": (0, 1, -1, "-V"),
        "optimizer": STILL,
        "filled": (False, True),
        "weight_decay": (0.0, 0.25),
        "momentum": (0.0, 0.5),
        "head": (False, True),
        "sparse": (False, True),
        "steps": (1, 2, 3),
        "dtype": ("float32", "float64"),
    },
    step_canonical,
    fixed_cases=still_with_momentum,
    flags=("optimizer", "filled", "weight_decay", "momentum", "head", "sparse", "steps"),
)
