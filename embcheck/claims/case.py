"""The cases of the claims: which experiment is run, in which situation, on which table; numpy only.

An *experiment* is a torch-only program that several claims are judged on.  Its *situations* are the circumstances
that its claims may depend on: a claim holds in each, in none, or only in some.
"""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes
from embcheck.core.case import Ints, LookupCase
from embcheck.core.format import Array, Floats, Format
from embcheck.core.law import Plan
from embcheck.core.space import Space

Program = Callable[..., Mapping[str, Any]]


@dataclass(frozen=True)
class Experiment:
    """A program, its situations, and the sizes, shapes, dtypes and seeds of its cases, the usual ones first.

    No row number is a column number too, but in squares.  ``padding`` is the padding_idx of its table and ``pattern`` names the
    tokens.  One that is ``large`` runs on these sizes alone: no random case is drawn for it.
    """

    program: Program
    situations: tuple[str, ...]
    sizes: tuple[tuple[int, int], ...] = ((7, 4), (3, 1), (17, 8), (64, 33))
    shapes: tuple[tuple[int, ...], ...] = ((2, 4), (5,))
    dtypes: tuple[str, ...] = ("float32", "float64")
    padding: int | None = None
    pattern: str = "uniform"
    seeds: int = 1
    large: bool = False

    @property
    def name(self) -> str:
        return self.program.__name__

    def cases(self) -> Iterator[ClaimCase]:
        """Every case but those of `firsts`, situation by situation."""
        firsts = set(self.firsts())
        axes = itertools.product(self.situations, self.sizes, self.shapes, self.dtypes, range(self.seeds))
        for situation, (rows, width), shape, dtype, seed in axes:
            case = ClaimCase(self.name, situation, rows, width, shape, dtype, seed)
            if case not in firsts:
                yield case

    def firsts(self) -> Iterator[ClaimCase]:
        """One case of each situation."""
        for situation in self.situations:
            yield ClaimCase(self.name, situation, *self.sizes[0], self.shapes[0], self.dtypes[0])


EXPERIMENTS: dict[str, Experiment] = {}


def experiment(*situations: str, **fields: Any) -> Callable[[Program], Program]:
    """Registers the decorated program; without ``situations`` it has one that needs no name."""

    def register(program: Program) -> Program:
        EXPERIMENTS[program.__name__] = Experiment(program, situations or ("",), **fields)
        return program

    return register


class ClaimCase(Axes):
    """An experiment in one of its situations, with a table and tokens."""

    experiment: str
    #: a number stands for the experiment's situation of that place
    situation: str | int = ""
    num_embeddings: int = 7
    embedding_dim: int = 4
    shape: tuple[int, ...] = (2, 4)
    dtype: str = "float32"
    seed: int = 0

    @cached_property
    def table(self) -> LookupCase:
        """The table, the tokens and the upstream gradient: integers, so that products and sums are exact."""
        made = EXPERIMENTS[self.experiment]
        return LookupCase(self.num_embeddings, self.embedding_dim, made.pattern, self.shape, made.padding,
                          values="fingerprint", dtype=self.dtype, seed=self.seed)  # fmt: skip

    @property
    def numel(self) -> int:
        return self.table.numel

    @property
    def format(self) -> Format:
        return self.table.format

    @property
    def size(self) -> list[int]:
        """The shape of the table, as programs show it."""
        return [self.num_embeddings, self.embedding_dim]

    @property
    def weight(self) -> Floats:
        """The table's values, shape (V, D)."""
        return self.table.weight_values

    @property
    def tokens(self) -> Ints:
        return self.table.tokens.reshape(self.shape)

    @property
    def rows(self) -> Floats:
        """The rows that the tokens name, shape (*shape, D)."""
        return self.weight[self.tokens]

    @property
    def row_bits(self) -> Array:
        """Their bit patterns."""
        return self.format.to_bits(self.table.weight_stored[self.tokens])

    @property
    def scattered(self) -> Floats:
        """The gradient that is sent into the looked-up rows, summed over the tokens of each row, shape (V, D)."""
        total = np.zeros_like(self.weight)
        np.add.at(total, self.table.tokens, self.table.upstream_values)
        return total

    @property
    def trained(self) -> Floats:
        """The table after a step of SGD with learning rate 1, shape (V, D)."""
        return self.weight - self.scattered


def plan(case: ClaimCase) -> Plan:
    """The experiment's program with what it takes by name: tensors, sizes, the situation, the seed."""
    program, table = EXPERIMENTS[case.experiment].program, case.table
    taken = inspect.signature(program).parameters
    tensors = {"weight": table.weight_input, "indices": table.index_input, "upstream": table.upstream_input}
    options = {"rows": case.num_embeddings, "width": case.embedding_dim, "situation": case.situation}
    options |= {"dtype": case.dtype, "seed": case.seed}
    fed = {name: given._replace(requires_grad=False) for name, given in tensors.items() if name in taken}
    return Plan(program, fed, {name: value for name, value in options.items() if name in taken})


def repair(case: ClaimCase) -> ClaimCase | None:
    """The case with a situation that its experiment has; None where that is not run on such a table."""
    made = EXPERIMENTS.get(case.experiment)
    if made is None:
        return None
    if isinstance(case.situation, int):
        case = case.but(situation=made.situations[case.situation % len(made.situations)])
    if case.dtype not in made.dtypes:
        case = case.but(dtype=made.dtypes[0])
    if case.num_embeddings == case.embedding_dim and not made.large:
        return None  # a square table is a situation of its own, in the experiments to which it makes a difference
    on_size = (case.num_embeddings, case.embedding_dim) in made.sizes and case.shape in made.shapes
    return case if case.situation in made.situations and (on_size or not made.large) else None


def claim_space(names: tuple[str, ...] = ()) -> Space:
    """The cases of the experiments with these names, by default of all: one of each situation first."""
    chosen = [EXPERIMENTS[name] for name in names or EXPERIMENTS]
    small = tuple(made.name for made in chosen if not made.large)
    axes: dict[str, tuple[Any, ...]] = {"experiment": tuple(made.name for made in chosen), "situation": tuple(range(4)),
            "num_embeddings": (7, 3, 12, 40), "embedding_dim": (4, 1, 2, 9, 31), "shape": ((2, 4), (1,), (3, 2, 2), (33,)),
            "dtype": ("float32", "float64", "bfloat16", "float16")}  # fmt: skip

    def draw(draws: stream.Stream) -> ClaimCase | None:
        if not small:
            return None
        place = draws.choice(small), draws.between(0, 11), draws.between(3, 80), draws.between(1, 40)
        shape = tuple(draws.between(1, 6) for _ in range(draws.between(1, 3)))
        return repair(ClaimCase(*place, shape, draws.choice(axes["dtype"]), draws.between(0, 255)))

    return Space(
        ClaimCase,
        axes,
        repair,
        scope=lambda: (case for made in chosen for case in made.cases()),
        fixed_cases=lambda: (case for made in chosen for case in made.firsts()),
        draw=draw,
        strength=2,
    )
