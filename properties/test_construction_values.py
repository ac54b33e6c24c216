"""First values of a table: their distribution, and what moves the padding row afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.axes import Input
from embcheck.comparison import every, identical, is_true, same
from embcheck.construction.case import (
    InitialCase,
    PaddingStepCase,
    allowed_correlation,
    allowed_distance,
    distance,
    distance_in_torch,
    extremes,
)
from embcheck.construction.initialisation import CONSTANTS, INITIALISERS, initialised, trained
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.lookup.table import padding_of
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, Difference, Finding, Holds
from embcheck.space import Space

# -- first values --------------------------------------------------------------------------------------------------


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


initial = Family(
    "initial",
    Space(
        InitialCase,
        {"num_embeddings": (64, 96, 256, 300), "embedding_dim": (256, 64, 100), "name": tuple(INITIALISERS),
         "padding_idx": (None, 0, 63), "dtype": ("float32", "float64")},
        landmarks=initial_cases,
    ),
    initial_plan,
    cost=12.0,
)  # fmt: skip


@initial.law(
    "The first values of a table are drawn from N(0, 1), those of an initialiser from its distribution.",
    source="nn.Embedding: initialized from N(0, 1); torch.nn.init; Dvoretzky-Kiefer-Wolfowitz, error below 1e-9",
    obliges={f"name={name}" for name in INITIALISERS} | {"padded", "dtype=float64", "elements>200000"},
)
def values_are_distributed_as_documented(case: InitialCase, out: Outcome) -> Finding:
    filled = np.asarray(out.values.values, np.float64)
    drawn = filled[case.drawn] if case.name == "default" else filled
    spread = case.spread
    if spread is None:
        return same(out.values, np.full(out.values.values.shape, CONSTANTS[case.name]))
    if spread.uniform and np.abs(drawn - spread.mean).max() > spread.scale * (
        1 + 2 * FORMATS[case.dtype].unit_roundoff
    ):
        path = f"({out.values.path} - {spread.mean!r}).abs().max().item() <= {spread.scale * 1.0000001!r}"
        return Difference("range", path, False, True,
                          f"a value lies outside [{spread.mean - spread.scale:g}, {spread.mean + spread.scale:g})")  # fmt: skip
    far, most = distance(drawn, spread), allowed_distance(drawn.size, FORMATS[case.dtype])
    if far <= most:
        return Holds(float(far / most))
    words = f"mean {drawn.mean():g}, deviation {drawn.std():g}: the distribution is off by {far:.3g} > {most:.3g}"
    path = distance_in_torch(f"{out.values.path}{rows_drawn(case)}", drawn.size, spread)
    return Difference("distribution", path, far, 0.0, words, most)


def rows_drawn(case: InitialCase) -> str:
    """What leaves out the row of the padding that the default leaves zero, as an index of torch."""
    row = case.padding_idx if case.name == "default" else None
    return "" if row is None else f"[[row for row in range({case.num_embeddings}) if row != {row}]]"


@initial.law(
    "The value that lies farthest out is about as far out as the largest of so many normal ones.",
    source="nn.Embedding: initialized from N(0, 1); n values stay within t with probability (1 - 2Q(t))^n, error below 1e-12",
    when=lambda case: case.spread is not None and not case.spread.uniform,
    obliges={"elements>700000", "name=default", "name=normal"},
)
def tails_are_normal(case: InitialCase, out: Outcome) -> Finding:
    filled = np.asarray(out.values.values, np.float64)
    drawn, spread = filled[case.drawn] if case.name == "default" else filled, case.spread
    assert spread is not None
    least, most = extremes(drawn.size)
    far = float(np.abs(drawn - spread.mean).max()) / spread.scale
    if least <= far <= most:
        return Holds(float(far / most))
    words = (
        f"the value farthest out is {far:.4g} deviations from the mean; of {drawn.size} it is {least:.3g} to {most:.3g}"
    )
    path = f"({out.values.path}{rows_drawn(case)} - {spread.mean!r}).abs().max().item() / {spread.scale!r}"
    return Difference("tails", path, far, (least + most) / 2, words, (most - least) / 2)


@initial.law(
    "Rows, columns and elements side by side are drawn independently.",
    source="nn.Embedding: initialized from N(0, 1); Chernoff, error below 1e-9",
    when=lambda case: case.name == "default",
)
def values_are_independent(case: InitialCase, out: Outcome) -> Finding:
    rows = np.asarray(out.values.values, np.float64)[case.drawn]
    half, side = len(rows) // 2, rows.shape[1] // 2
    pairs = {"rows apart": (f"[:{half}]", f"[{half}:{2 * half}]"), "neighbours": (f"[0::2][:{half}]", f"[1::2][:{half}]"),
             "columns": (f"[:, :{side}]", f"[:, {side}:{2 * side}]"), "next": ("[:, 0:-1:2]", "[:, 1::2]")}  # fmt: skip
    ratios = []
    for name, (one, other) in pairs.items():
        a, b = (eval(f"rows{part}", {"rows": rows}) for part in (one, other))
        mean, most = abs(float((a * b).mean())), allowed_correlation(a.size)
        if mean > most:
            words = f"{name} correlate: {mean:.3g}, at most {most:.3g}"
            drawn = f"{out.values.path}{rows_drawn(case)}.double()"
            path = f"({drawn}{one} * {drawn}{other}).mean().abs().item()"
            return Difference("correlation", path, mean, 0.0, words, most)
        ratios.append(Holds(float(mean / most)))
    return every(*ratios)


@initial.law(
    "An initialiser fills the tensor that it is given, returns it, and draws the same again from the same state.",
    source="torch.nn.init: fill the input tensor; torch.set_rng_state",
)
def initialisers_work_in_place(case: InitialCase, out: Outcome) -> Finding:
    return every(
        is_true(out.returned, "another tensor was returned"),
        is_true(out.in_place, "the Parameter or its memory was exchanged"),
        is_true(out.moved, "the version did not move"),
        is_true(out.trains, "the Parameter no longer requires grad, or has a gradient"),
        identical(out.again, out.values),
    )


@initial.law(
    "The default leaves the padding row zero; any other initialiser fills it, and then it may be zeroed by hand.",
    source="nn.Embedding: padding_idx; torch.nn.init",
    when=lambda case: case.padding_idx is not None,
    obliges={"padded"},
)
def initialisers_fill_the_padding_row(case: InitialCase, out: Outcome) -> Finding:
    assert case.padding_idx is not None
    filled, wanted = bool(out.values.values[case.padding_idx].any()), case.name not in ("default", "zeros")
    if filled != wanted:
        words = f"the padding row is {'filled' if filled else 'zero'}, and {case.name} leaves it {'filled' if wanted else 'zero'}"
        return Difference("padding", f"{out.values.path}[{case.padding_idx}].any().item()", filled, wanted, words)
    return HOLDS if case.name in ("default", "data_uniform") else same(out.next[case.padding_idx], 0)


test_initial_scope, test_initial_product, test_initial_random = initial.tests()

# -- padding in training -------------------------------------------------------------------------------------------

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


padding_training = Family(
    "padding_training",
    Space(
        PaddingStepCase,
        {"num_embeddings": (3, 1, 5), "embedding_dim": (2, 1, 17), "padding_idx": (0, 1, -1, "-V"), "optimizer": STILL,
         "filled": (False, True), "weight_decay": (0.0, 0.25), "momentum": (0.0, 0.5), "head": (False, True),
         "sparse": (False, True), "steps": (1, 2, 3), "dtype": ("float32", "float64")},
        step_canonical,
        landmarks=still_with_momentum,
        flags=("optimizer", "filled", "weight_decay", "momentum", "head", "sparse", "steps"),
    ),
    step_plan,
    cost=8.0,
)  # fmt: skip


def is_moved(case: PaddingStepCase) -> bool:
    """Whether weight decay or a tied head reaches the padding row."""
    return bool(case.weight_decay) or case.head


@padding_training.law(
    "Training leaves the padding row as it is, bit for bit, whatever it holds, without weight decay and tied head.",
    source="nn.Embedding: padding_idx is not updated during training, i.e. it remains as a fixed pad",
    when=lambda case: not is_moved(case),
    obliges={"filled", "sparse", "negative_padding", "momentum=0.5", "optimizer=Adam", "optimizer=SparseAdam"},
)
def training_keeps_the_padding_row(case: PaddingStepCase, out: Outcome) -> Finding:
    row = case.padding_row
    kept = case.format.to_bits(case.format.encode(case.weight[row]))
    return identical(out.steps[:, row], np.broadcast_to(kept, (case.steps, case.embedding_dim)))


@padding_training.law(
    "SGD moves the padding row by weight decay, momentum and the tied head's gradient alone, and other rows by all.",
    source="torch.optim.SGD; nn.Embedding: padding_idx",
    when=lambda case: case.optimizer == "SGD",
    obliges={"head", "decayed", "filled", "momentum=0.5", "steps=3"},
)
def padding_moves_by_formula(case: PaddingStepCase, out: Outcome) -> Finding:
    steps, gradient = case.path
    return every(same(out.steps, steps), same(out.grad, gradient))


test_training_scope, test_training_product, test_training_random = padding_training.tests()
