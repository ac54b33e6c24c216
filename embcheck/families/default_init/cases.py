"""The cases of a table's first values and of its padding row in training, what is due, and which program runs each."""

import itertools
import math
from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import torch

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype, values_of
from embcheck.core.case import LookupCase
from embcheck.core.format import Floats
from embcheck.core.law import Plan
from embcheck.core.registry import named
from embcheck.core.space import Space
from embcheck.families.initializers.oracle import Spread
from embcheck.families.lookup.cases import padding_of
from embcheck.families.lookup.programs import Tensor, generator, seeded


def initialised(
    initialise: Callable[[Tensor], Any], rows: int, width: int, padding_idx: int | None, dtype: str, seed: int
) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        seeded(seed)
        layer = torch.nn.Embedding(rows, width, padding_idx, dtype=getattr(torch, dtype))
        start = generator().get_state()
        version, parameter, memory = layer.weight._version, layer.weight, layer.weight.data_ptr()
        returned = initialise(layer.weight)
        moved = layer.weight._version > version
        values = layer.weight.detach().clone()
        generator().set_state(start)
        initialise(layer.weight)
        again = layer.weight.detach().clone()
        initialise(layer.weight)
        if padding_idx is not None and returned is not None:
            with torch.no_grad():
                layer.weight[padding_idx].fill_(0)
    return {
        "values": values,
        "again": again,
        "returned": returned is None or returned is parameter,
        "in_place": layer.weight is parameter and layer.weight.data_ptr() == memory and parameter.is_leaf,
        "moved": moved or returned is None,
        "trains": layer.weight.requires_grad and layer.weight.grad is None,
        "next": layer.weight.detach(),
    }


def default(weight: Tensor) -> None:
    """What the constructor draws is judged as it is."""


def data_uniform(weight: Tensor) -> None:
    weight.data.uniform_(-0.125, 0.125)


INITIALISERS: dict[str, Callable[[Tensor], Any]] = named(
    {
        "default": default,
        "xavier_uniform": lambda weight: torch.nn.init.xavier_uniform_(weight),
        "data_uniform": data_uniform,
    }
)


def trained(
    weight: Tensor, hidden: Tensor, padding_idx: int, optimizer: str, options: dict[str, Any], head: bool, sparse: bool,
    steps: int,
) -> dict[str, Any]:  # fmt: skip
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx, sparse=sparse, _weight=weight)
    out = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    if head:
        out.weight = layer.weight
    trainer, seen = getattr(torch.optim, optimizer)([layer.weight], **options), []
    for _ in range(steps):
        trainer.zero_grad()
        loss = layer(torch.arange(weight.shape[0])).sum()
        if head:
            loss = loss + out(hidden).sum()
        loss.backward()
        trainer.step()
        seen.append(layer.weight.detach().clone())
    grad = layer.weight.grad
    return {"steps": torch.stack(seen), "grad": None if grad is None else grad.to_dense()}


#: Optimizers that leave a Parameter alone where its gradient is, and has always been, zero.
STILL = ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "SparseAdam")
#: By how the first values of a table are drawn, of its rows and columns.
SPREADS: dict[str, Callable[[int, int], Spread]] = {
    "default": lambda rows, width: Spread(0.0, 1.0, False),
    "xavier_uniform": lambda rows, width: Spread(0.0, math.sqrt(6 / (rows + width)), True),
    "data_uniform": lambda rows, width: Spread(0.0, 0.125, True),
}


class InitialCase(OfDtype):
    """A table whose first values are drawn by an initialisation."""

    num_embeddings: Annotated[int, (64, 96, 256, 300)] = 64
    embedding_dim: Annotated[int, (256, 64, 100)] = 256
    name: Annotated[str, tuple(INITIALISERS)] = "default"
    padding_idx: Annotated[int | None, (None, 0, 63)] = None
    dtype: Annotated[str, ("float32", "float64")] = "float32"
    seed: int = 0

    @property
    def spread(self) -> Spread:
        return SPREADS[self.name](self.num_embeddings, self.embedding_dim)

    @property
    def drawn(self) -> npt.NDArray[np.bool_]:
        """Which rows are drawn: all but the padding row, which the default leaves zero; shape ``(V,)``."""
        rows = np.ones(self.num_embeddings, np.bool_)
        if self.name == "default" and self.padding_idx is not None:
            rows[self.padding_idx] = False
        return rows

    def facts(self) -> dict[str, Any]:
        elements = self.num_embeddings * self.embedding_dim
        return {**self.axes, "padded": self.padding_idx is not None, "elements": elements}


class PaddingStepCase(OfDtype):
    """Steps of an optimizer on a table with padding; with ``head`` its weight is tied to an output layer's."""

    num_embeddings: Annotated[int, (3, 1, 5)] = 3
    embedding_dim: Annotated[int, (2, 1, 17)] = 2
    padding_idx: Annotated[int, (0, 1, -1, "-V")] = 0
    optimizer: Annotated[str, STILL] = "SGD"
    #: the padding row holds numbers, not zeros
    filled: Annotated[bool, (False, True)] = False
    weight_decay: Annotated[float, (0.0, 0.25)] = 0.0
    momentum: Annotated[float, (0.0, 0.5)] = 0.0
    head: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    steps: Annotated[int, (1, 2, 3)] = 1
    dtype: Annotated[str, ("float32", "float64")] = "float32"
    seed: int = 0

    @property
    def padding_row(self) -> int:
        """padding_idx counted from the front."""
        return self.padding_idx % self.num_embeddings

    @cached_property
    def weight(self) -> Floats:
        """The table, integers ±1…±3; the padding row is zero unless ``filled``."""
        table = LookupCase(self.num_embeddings, self.embedding_dim, values="small", dtype=self.dtype, seed=self.seed)
        values: Floats = table.weight_values.copy()
        if not self.filled:
            values[self.padding_row] = 0
        return values

    @cached_property
    def hidden(self) -> Floats:
        """The head's input, one row of integers −2…2, shape (1, D)."""
        return stream.small("hidden", self.seed % 64, (1, self.embedding_dim), 2)

    @cached_property
    def path(self) -> tuple[Floats, Floats]:
        """The table after each step by SGD's formula, shape (steps, V, D), and the gradient of a step.

        Every row is looked up once with the gradient 1, the padding row with 0; the head sends ``hidden`` to every row.
        """
        gradient = np.ones((self.num_embeddings, self.embedding_dim))
        gradient[self.padding_row] = 0
        if self.head:
            gradient = gradient + self.hidden
        weight, buffer, steps = self.weight, None, []
        for _ in range(self.steps):
            moved = gradient + self.weight_decay * weight
            buffer = moved if buffer is None else self.momentum * buffer + moved
            weight = weight - 0.5 * (buffer if self.momentum else moved)
            steps.append(weight)
        return np.array(steps), gradient

    def facts(self) -> dict[str, Any]:
        return {**self.axes, "negative_padding": self.padding_idx < 0, "decayed": self.weight_decay > 0}


# -- which there are, and what is executed for each ----------------------------------------------------------------


def initial_plan(case: InitialCase) -> Plan:
    options = {"initialise": INITIALISERS[case.name], "rows": case.num_embeddings, "width": case.embedding_dim,
               "padding_idx": case.padding_idx, "dtype": case.dtype, "seed": case.seed}  # fmt: skip
    return Plan(initialised, {}, options)


def initial_cases() -> Iterator[InitialCase]:
    named = itertools.product(INITIALISERS, ("float32", "float64"), (None, 0, 5))
    for seed, (name, dtype, padding) in enumerate(named):
        yield InitialCase(64, 256, name, padding, dtype, seed=seed)
        yield InitialCase(256, 96, name, padding, dtype, seed=seed + 1000)
    yield InitialCase(1024, 768, padding_idx=7, seed=1)


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


INITIAL_SPACE = Space(InitialCase, values_of(InitialCase), fixed_cases=initial_cases)

PADDING_TRAINING_SPACE = Space(
    PaddingStepCase,
    values_of(PaddingStepCase),
    step_canonical,
    fixed_cases=still_with_momentum,
    flags=("optimizer", "filled", "weight_decay", "momentum", "head", "sparse", "steps"),
)
