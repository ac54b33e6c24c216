"""Which cases of initializers there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.initializers.cases import (
    DISTRIBUTIONS,
    FANNED,
    GAINS,
    KERNELS,
    MATRICES,
    ORTHOGONAL,
    SPARSITY,
    WITHOUT_GENERATOR,
    InitializerCase,
)
from embcheck.families.initializers.programs import FILLS, filled, gained

SHAPES: tuple[tuple[int, ...], ...] = (
    (3, 2), (2, 3), (1, 1), (4, 4), (1, 5), (5, 1), (17, 9), (4, 2, 3), (4, 2, 2, 3), (2, 4, 1, 3, 2), (6, 3, 5), (3,), (),
    (0,), (0, 3), (2, 0), (0, 0),
)  # fmt: skip


#: Enough numbers for statistics; the receptive field is 1, 9 and 4.
MANY: tuple[tuple[int, ...], ...] = ((64, 128), (128, 8, 9), (32, 64, 2, 2), (500, 33))


def plan(case: InitializerCase) -> Plan:
    if case.gains:
        return Plan(gained, {}, {"names": tuple(GAINS)})
    options = {name: getattr(case, name) for name in ("own_generator", "trains", "detached", "seed")}
    options["fill"] = FILLS[case.fill]
    return Plan(filled, {"weight": case.weight_input()}, options)


def repair(case: InitializerCase) -> InitializerCase | None:
    """The case with a shape that its initialiser takes."""
    if case.gains:
        return InitializerCase(gains=True)
    changes: dict[str, Any] = {}
    shape = case.shape
    if case.fill in KERNELS:
        shape = shape if 3 <= len(shape) <= 5 and shape[0] % 2 == 0 else (4, 2, 3)
    elif case.fill in MATRICES:
        shape = shape if len(shape) == 2 and 0 not in shape else (3, 2)
    elif case.fill in FANNED:
        shape = shape if len(shape) > 1 else (2, 3)
    changes["shape"] = shape
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.fill in ORTHOGONAL and case.dtype in ("float16", "bfloat16"):
        changes["dtype"] = "float32"  # there is no QR decomposition of half precision
    if case.fill in WITHOUT_GENERATOR:
        changes["own_generator"] = False
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "fill": tuple(FILLS),
    "shape": SHAPES,
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "own_generator": (False, True),
    "trains": (True, False),
    "detached": (False, True),
}


def scope() -> Iterator[InitializerCase]:
    """Every initialiser with every shape and every layout; enough numbers for statistics; the gains."""
    yield InitializerCase(gains=True)
    for seed, (fill, shape, layout) in enumerate(
        itertools.product(FILLS, SHAPES, ("contiguous", "transposed", "strided"))
    ):
        dtype = tuple(FORMATS)[seed % 4]
        detached = seed % 4 == 1
        yield from _fitted(
            InitializerCase(fill, shape, dtype, layout, bool(seed % 2), bool(seed % 3), detached, seed=seed)
        )


def fixed_cases() -> Iterator[InitializerCase]:
    """Statistics of each initialiser; of those that a layer draws, enough to see a fiftieth."""
    for seed, (fill, shape) in enumerate(itertools.product(DISTRIBUTIONS, MANY)):
        dtype, layout = tuple(FORMATS)[seed % 4], ("contiguous", "transposed")[seed % 2]
        yield from _fitted(InitializerCase(fill, shape, dtype, layout, bool(seed % 3), seed=seed))
    for seed, (fill, dtype) in enumerate(itertools.product(("normal", "embedding"), FORMATS)):
        yield InitializerCase(fill, (513, 512), dtype, seed=seed)
    yield InitializerCase("linear_weight", (512, 257), seed=1)
    for fill in SPARSITY:
        yield InitializerCase(fill, (40, 200), seed=2)
    for seed, (fill, shape) in enumerate(itertools.product(ORTHOGONAL, ((4, 4), (2, 6), (6, 2), (3, 2, 5), (1, 4)))):
        yield InitializerCase(fill, shape, ("float32", "float64")[seed % 2], own_generator=bool(seed % 3), seed=seed)
    yield InitializerCase(gains=True)
    yield InitializerCase("orthogonal_firsts", (8, 16), own_generator=True, seed=3)
    yield InitializerCase("orthogonal_firsts", (16, 8), "float64", seed=4)


def _fitted(case: InitializerCase) -> Iterator[InitializerCase]:
    found = repair(case)
    if found is not None:
        yield found


def draw(draws: stream.Stream) -> InitializerCase | None:
    """A random case of little size."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    return repair(InitializerCase(**chosen, seed=draws.between(0, 1 << 16)))


SPACE = Space(InitializerCase, AXES, repair, scope, fixed_cases, flags=("fill", "dtype"), draw=draw, strength=2)
