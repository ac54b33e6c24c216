"""A tensor that is filled by an initializer: the cases that there are, and the program that runs each."""

import itertools
import math
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Any

import numpy as np

from embcheck.core.axes import Input, OfDtype, values_of
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, MATRICES_TRANSPOSED
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space, covering
from embcheck.core.stream import COLUMNS, ROWS, Stream, shaped
from embcheck.families.initializers import programs
from embcheck.families.initializers.oracle import (
    DISTRIBUTIONS,
    FANNED,
    GAINED,
    GAINS,
    INITIALIZERS,
    KERNELS,
    LAYERS,
    MATRICES,
    ORTHOGONAL,
    SPARSITY,
    WITHOUT_GENERATOR,
    Spread,
)

SHAPES: tuple[tuple[int, ...], ...] = (
    (3, 2), (2, 3), (1, 1), (4, 4), (1, 5), (5, 1), (17, 9), (4, 2, 3), (4, 2, 2, 3), (2, 4, 1, 3, 2), (6, 3, 5), (3,), (),
    (0,), (0, 3), (2, 0), (0, 0), (8, 7), (17, 8), (2, 33), (17, 70), (3, 2, 8), (2, 3, 17), (1, 4, 7), (8,), (70,),
    (17, 2, 33),
)  # fmt: skip
#: Enough numbers for statistics; the receptive field is 1, 9 and 4.
MANY: tuple[tuple[int, ...], ...] = ((64, 128), (128, 8, 9), (32, 64, 2, 2), (500, 33))
#: A tensor of more elements is not filled again and again.
_REPEATED = 1200
#: Of each function any three of these meet; "size" is how many numbers there are.
COVERED: dict[str, tuple[Any, ...]] = {
    "rank": (1, 2, 3), "rows": ROWS, "columns": COLUMNS, "size": ("some", "many", "none"), "dtype": tuple(FORMATS),
    "layout": ("contiguous", "transposed", "column_slice", "strided", MATRICES_TRANSPOSED), "trains": (True, False),
}  # fmt: skip


class InitializerCase(OfDtype):
    fill: Annotated[str, tuple(INITIALIZERS)] = "normal"
    shape: Annotated[tuple[int, ...], SHAPES] = (3, 2)
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    own_generator: Annotated[bool, (False, True)] = False
    trains: Annotated[bool, (True, False)] = True
    seed: int = 0
    #: how often it is filled once more, to see how each element is distributed
    repeats: Annotated[int, (0, 256)] = 0

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @cached_property
    def chosen(self) -> dict[str, Any]:
        """What the seed chooses among a fill's arguments by name; not all of it is told, for the defaults are judged, too."""
        found: dict[str, Any] = {}
        if self.fill in GAINED and self.seed % len(GAINS):
            found["nonlinearity"] = tuple(GAINS)[self.seed % len(GAINS)]
        if self.fill in SPARSITY and self.seed % 2:
            found["std"] = 0.5
        if self.fill in KERNELS and self.seed % 2 and self.shape[0] % 2 == 0:
            found["groups"] = 2
        return found

    @cached_property
    def distribution(self) -> Spread | None:
        """Of each number, or None where they are no independent draws."""
        found = DISTRIBUTIONS.get(self.fill)
        field = math.prod(self.shape[2:])
        fans = (self.shape[1] * field, self.shape[0] * field) if len(self.shape) > 1 else (1, 1)
        if found is None or not self.size:
            return None
        spread, nonlinearity = found(*fans), self.chosen.get("nonlinearity")
        if nonlinearity:
            spread = spread._replace(scale=spread.scale * GAINS[nonlinearity] / GAINS["leaky_relu"])
        return spread

    @property
    def sampler(self) -> tuple[str, float, float] | None:
        """The method of a tensor that draws the same numbers, and its arguments; None where there is none."""
        found = self.distribution
        if self.fill in SPARSITY:
            return "normal_", 0.0, self.chosen.get("std", 0.01)
        if found is None or found.within or self.fill in LAYERS:
            return None
        if found.uniform:
            return "uniform_", found.mean - found.scale, found.mean + found.scale
        return "normal_", found.mean, found.scale

    @property
    def exact(self) -> Floats | None:
        """The numbers, where nothing is drawn."""
        constant = INITIALIZERS[self.fill].constant
        made = np.full(self.shape, constant or 0.0)
        if self.fill == "eye":
            made = np.eye(self.shape[0], self.shape[1])
        elif self.fill in KERNELS:
            middle = tuple(length // 2 for length in self.shape[2:])
            groups = self.chosen.get("groups", 1)
            group = self.shape[0] // groups
            for start, channel in itertools.product(range(groups), range(min(group, self.shape[1]))):
                made[(start * group + channel, channel, *middle)] = 1.0
        elif constant is None:
            return None
        return self.format.rounded(made)

    @property
    def layer(self) -> list[Any]:
        """What the layer is like whose first values are taken: each Parameter, and that it trains."""
        if self.fill not in LAYERS:
            return []
        width = self.shape if self.fill != "linear_bias" else (self.size, 4)
        made = {"weight": width} | ({"bias": width[:1]} if self.fill in ("linear_weight", "linear_bias") else {})
        return [*((name, shape, self.dtype, True, True) for name, shape in made.items()), True]

    def weight_input(self) -> Input:
        """The tensor to fill: sevens, among them what no product with zero removes."""
        return Input(self.format.encode(np.resize([7.0, np.nan, 7.0, np.inf], self.shape)), self.dtype, self.layout)

    def facts(self) -> dict[str, Any]:
        return {
            **self.axes,
            "rank": len(self.shape),
            "elements": self.size,
            "wide": len(self.shape) > 1 and self.shape[0] < math.prod(self.shape[1:]),
            "drawn": self.distribution is not None,
            "many": self.size > 4000,  # enough for statistics
            "strided_kernel": len(self.shape) > 2 and self.layout not in ("contiguous", "offset"),
            "nonlinearity": self.chosen.get("nonlinearity", ""),
            "std": self.chosen.get("std", 0.01),
            "groups": self.chosen.get("groups", 1),
            "fanless": len(self.shape) > 1 and sum(self.shape[:2]) * math.prod(self.shape[2:]) == 0,
        }


def plan(case: InitializerCase) -> Plan:
    function, arguments, named, *_ = INITIALIZERS[case.fill]
    options = {
        "fill": programs.OTHERS.get(function, programs.fill_by),
        "call": (function, arguments, named | case.chosen),
        **{name: getattr(case, name) for name in ("sampler", "own_generator", "trains", "seed", "repeats")},
    }
    return Plan(programs.filled, {"weight": case.weight_input()}, options)


def repair(case: InitializerCase) -> InitializerCase:
    return fitted(case, _RULES)


_RULES: tuple[Rule, ...] = (
    (lambda c: c.fill in KERNELS and (not 3 <= len(c.shape) <= 5 or 0 in c.shape[2:]), {"shape": (4, 2, 3)}),
    (lambda c: (c.fill in MATRICES and len(c.shape) != 2) or (c.fill in LAYERS and 0 in c.shape), {"shape": (3, 2)}),
    (lambda c: c.fill in FANNED and len(c.shape) < 2, {"shape": (2, 3)}),
    (lambda c: c.layout == "expanded", {"layout": "column_slice"}),
    # There is no QR decomposition of half precision.
    (lambda c: c.fill in ORTHOGONAL and c.dtype in ("float16", "bfloat16"), {"dtype": "float32"}),
    (lambda c: c.fill in WITHOUT_GENERATOR, {"own_generator": False}),
    (lambda c: c.distribution is None or c.size > _REPEATED, {"repeats": 0}),
)

AXES = values_of(InitializerCase)


def scope() -> Iterator[InitializerCase]:
    """Every initializer with every shape and six layouts."""
    for seed, (fill, shape, layout) in enumerate(itertools.product(INITIALIZERS, SHAPES, LAYOUTS[:6])):
        yield repair(
            InitializerCase(fill, shape, tuple(FORMATS)[seed % 4], layout, bool(seed % 2), bool(seed % 3), seed=seed)
        )
    yield from _covering()


def _covering() -> Iterator[InitializerCase]:
    """Every function with what it may be given, each of its fills in turn."""
    functions: dict[str, list[str]] = {}
    for fill, made in INITIALIZERS.items():
        functions.setdefault(made.function, []).append(fill)
    for position, fills in enumerate(functions.values()):
        fewest = 3 if fills[0] in KERNELS else 2 if fills[0] in FANNED or fills[0] in MATRICES else 1
        axes = COVERED | {"rank": tuple(rank for rank in COVERED["rank"] if rank >= fewest)}
        for seed, chosen in enumerate(covering(axes, 3, position, extra_rows=0)):
            size = {name: chosen.pop(name) for name in ("rank", "rows", "columns", "size")}
            own: dict[str, Any] = {"own_generator": bool(seed % 2), "seed": seed}
            yield repair(InitializerCase(fills[seed % len(fills)], _shaped(**size, seed=seed), **chosen, **own))


def _shaped(rank: int, rows: int, columns: int, size: str, seed: int) -> tuple[int, ...]:
    """A shape of some, more than a thousand or no numbers; of so many rows and columns as far as its rank allows."""
    length = {"some": 1 + seed % 2, "many": 1024 // (rows * columns) + 1, "none": 0}[size]
    if rank == 1:
        return ({"some": columns, "many": 1024 + columns, "none": 0}[size],)
    if rank == 3:
        return rows, length, columns
    if size == "some":
        return rows, columns
    return (rows, length * columns) if seed % 2 else (length * rows, columns)


def fixed_cases() -> Iterator[InitializerCase]:
    """Statistics of each initializer; of those that a layer draws, enough to see a fiftieth."""
    for seed, (fill, shape) in enumerate(itertools.product(DISTRIBUTIONS, MANY)):
        dtype, layout = tuple(FORMATS)[seed % 4], ("contiguous", "transposed")[seed % 2]
        yield InitializerCase(fill, shape, dtype, layout, bool(seed % 3), seed=seed)
    for seed, (fill, dtype) in enumerate(itertools.product(("normal", "embedding"), FORMATS)):
        yield InitializerCase(fill, (513, 512), dtype, seed=seed)
    yield InitializerCase("linear_weight", (512, 257), seed=1)
    for fill in SPARSITY:
        yield InitializerCase(fill, (40, 200), seed=2)
    # Kernels fill blocks of 16 elements, and what is left in another way.
    shapes = ((17, 9), (3, 2), (8, 8), (17, 70))
    for seed, (fill, shape) in enumerate(itertools.product(DISTRIBUTIONS, shapes)):
        yield InitializerCase(fill, shape, tuple(FORMATS)[(seed + seed // 4) % 4], seed=seed, repeats=256)
    lengths = (1, 2, 3, 9)
    for seed, (shape, dtype, fill) in enumerate(
        itertools.product(itertools.product(lengths, lengths), FORMATS, ("linear_weight", "linear_without_bias"))
    ):
        yield InitializerCase(fill, shape, dtype, seed=seed)
    for seed, (fill, shape) in enumerate(itertools.product(ORTHOGONAL, ((4, 4), (2, 6), (6, 2), (3, 2, 5), (1, 4)))):
        yield InitializerCase(fill, shape, ("float32", "float64")[seed % 2], own_generator=bool(seed % 3), seed=seed)


def draw(draws: Stream) -> InitializerCase:
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    fill = chosen["fill"]
    ranks = (3,) if fill in KERNELS else (2,) if fill in MATRICES else (2, 2, 3) if fill in FANNED else (1, 2, 3)
    return repair(InitializerCase(**{**chosen, "shape": shaped(draws, ranks), "seed": draws.between(0, 255)}))


SPACE = Space(InitializerCase, AXES, repair, scope, fixed_cases, flags=("fill", "dtype"), draw=draw, strength=2)
