"""Filling: each initialiser of torch.nn.init, and the first values of layers, in every dtype, rank and layout."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import stream
from embcheck.comparison import every, is_true, same, unwritten, within
from embcheck.construction.case import Spread, allowed_distance, distance, distance_in_torch
from embcheck.construction.filling import FILLS, filled, gained
from embcheck.construction.filling_case import (
    DISTRIBUTIONS,
    FANNED,
    GAINS,
    KERNELS,
    MATRICES,
    ORTHOGONAL,
    SPARSITY,
    WITHOUT_GENERATOR,
    Filling,
    Truncated,
    allowed_mean,
    allowed_square,
)
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, Difference, Finding, Holds
from embcheck.space import Space

SHAPES: tuple[tuple[int, ...], ...] = (
    (3, 2), (2, 3), (1, 1), (4, 4), (1, 5), (5, 1), (17, 9), (4, 2, 3), (4, 2, 2, 3), (2, 4, 1, 3, 2), (6, 3, 5), (3,), (),
    (0,), (0, 3), (2, 0), (0, 0),
)  # fmt: skip
#: Enough numbers for statistics; the receptive field is 1, 9 and 4.
MANY: tuple[tuple[int, ...], ...] = ((64, 128), (128, 8, 9), (32, 64, 2, 2), (500, 33))


def plan(case: Filling) -> Plan:
    if case.gains:
        return Plan(gained, {}, {"names": tuple(GAINS)})
    options = {name: getattr(case, name) for name in ("own_generator", "trains", "detached", "seed")}
    options["fill"] = FILLS[case.fill]
    return Plan(filled, {"weight": case.weight_input()}, options)


def canonical(case: Filling) -> Filling | None:
    """The case with a shape that its initialiser takes."""
    if case.gains:
        return Filling(gains=True)
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


def scope() -> Iterator[Filling]:
    """Every initialiser with every shape and every layout; enough numbers for statistics; the gains."""
    yield Filling(gains=True)
    for seed, (fill, shape, layout) in enumerate(
        itertools.product(FILLS, SHAPES, ("contiguous", "transposed", "strided"))
    ):
        dtype = tuple(FORMATS)[seed % 4]
        detached = seed % 4 == 1
        yield from _fitted(Filling(fill, shape, dtype, layout, bool(seed % 2), bool(seed % 3), detached, seed=seed))


def landmarks() -> Iterator[Filling]:
    """Statistics of each initialiser; of those that a layer draws, enough to see a fiftieth."""
    for seed, (fill, shape) in enumerate(itertools.product(DISTRIBUTIONS, MANY)):
        dtype, layout = tuple(FORMATS)[seed % 4], ("contiguous", "transposed")[seed % 2]
        yield from _fitted(Filling(fill, shape, dtype, layout, bool(seed % 3), seed=seed))
    for seed, (fill, dtype) in enumerate(itertools.product(("normal", "embedding"), FORMATS)):
        yield Filling(fill, (513, 512), dtype, seed=seed)
    yield Filling("linear_weight", (512, 257), seed=1)
    for fill in SPARSITY:
        yield Filling(fill, (40, 200), seed=2)
    for seed, (fill, shape) in enumerate(itertools.product(ORTHOGONAL, ((4, 4), (2, 6), (6, 2), (3, 2, 5), (1, 4)))):
        yield Filling(fill, shape, ("float32", "float64")[seed % 2], own_generator=bool(seed % 3), seed=seed)
    yield Filling(gains=True)
    yield Filling("orthogonal_firsts", (8, 16), own_generator=True, seed=3)
    yield Filling("orthogonal_firsts", (16, 8), "float64", seed=4)


def _fitted(case: Filling) -> Iterator[Filling]:
    found = canonical(case)
    if found is not None:
        yield found


def draw(draws: stream.Stream) -> Filling | None:
    """A random case of little size."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    return canonical(Filling(**chosen, seed=draws.between(0, 1 << 16)))


filling = Family(
    "filling",
    Space(Filling, AXES, canonical, scope, landmarks, flags=("fill", "dtype"), draw=draw, strength=2),
    plan,
    cost=8.0,
)
law = filling.law


def fills(case: Filling) -> bool:
    return not case.gains


def draws_alike(case: Filling) -> bool:
    """Whether the numbers are independent draws of one distribution."""
    return fills(case) and case.distribution is not None and case.size > 0


@law(
    "An initialiser that draws nothing fills in exactly its numbers: a constant, ones on the diagonal, a kernel's middle.",
    source="torch.nn.init: constant_, ones_, zeros_, eye_, dirac_; std = 0; gain = 0",
    when=lambda case: fills(case) and case.exact is not None,
    obliges={
        "fill=eye",
        "fill=dirac_of_two",
        "fill=normal_fixed",
        "fill=xavier_uniform_zero",
        "layout=transposed",
        "rank=0",
    },
)
def exact_numbers_are_filled_in(case: Filling, out: Outcome) -> Finding:
    return same(out.values, case.exact)


@law(
    "What is drawn lies in its range and follows its distribution, for kernels of every rank.",
    source="torch.nn.init; Dvoretzky-Kiefer-Wolfowitz, error below 1e-9 in a run",
    when=draws_alike,
    obliges={f"fill={name}" for name in DISTRIBUTIONS} | {"many", "rank=3", "rank=4", "own_generator"},
)
def numbers_follow_the_distribution(case: Filling, out: Outcome) -> Finding:
    values, spread = np.asarray(out.values.values, np.float64), case.distribution
    assert spread is not None
    low, high = _range(spread)
    slack = 2 * case.format.unit_roundoff * max(abs(low), abs(high)) if math.isfinite(high) else 0.0
    if values.min() < low - slack or values.max() > high + slack:
        words = f"[{values.min():g}, {values.max():g}] lies outside [{low:g}, {high:g}]"
        beyond = out.values.derived(f"max({low - slack!r} - {{}}.min().item(), {{}}.max().item() - {high + slack!r}, 0.0)")
        return Difference("range", beyond.path, beyond.raw, 0.0, words)
    far, most = distance(values, spread), allowed_distance(case.size, case.format)  # type: ignore[arg-type]
    if far <= most:
        return Holds(float(far / most))
    words = f"mean {values.mean():g}, deviation {values.std():g}: the distribution is off by {far:.3g} > {most:.3g}"
    path = distance_in_torch(out.values.path, values.size, spread)
    return Difference("distribution", path, far, 0.0, words, most)


def _range(spread: Spread | Truncated) -> tuple[float, float]:
    if isinstance(spread, Truncated):
        return spread.low, spread.high
    reach = spread.scale if spread.uniform else math.inf
    return spread.mean - reach, spread.mean + reach


@law(
    "Mean and mean square of what is drawn are those of its distribution, of all numbers, of each row and of each column.",
    source="torch.nn.init; Hoeffding; Laurent and Massart 2000, error below 1e-9 in a run",
    when=lambda case: draws_alike(case) and isinstance(case.distribution, Spread),
    obliges={"many", "dtype=bfloat16", "elements>200000"},
)
def moments_are_the_distributions(case: Filling, out: Outcome) -> Finding:
    spread = case.distribution
    assert isinstance(spread, Spread)
    values = np.asarray(out.values.values, np.float64).reshape(case.shape[0] if case.shape else 1, -1)
    square = spread.scale**2 / (3 if spread.uniform else 1)
    # One rounding of each number moves its mean by u|x|, and its square by 3u x².
    u, size = case.format.unit_roundoff, abs(spread.mean) + spread.scale
    worst, table = 0.0, f"({out.values.path}.double().reshape({values.shape}) - {spread.mean!r})"
    for name, axis in (("all numbers", None), ("a row", 1), ("a column", 0)):
        n = values.size if axis is None else values.shape[axis]
        many = values.size // n
        mean = np.abs(values.mean(axis) - spread.mean).max(), allowed_mean(n, spread, many) + u * size
        about = ((values - spread.mean) ** 2).mean(axis)
        off = np.abs(about - square).max(), allowed_square(n, spread, many) + 3 * u * size**2
        over = "" if axis is None else axis
        paths = f"{table}.mean({over})", f"({table}.square().mean({over}) - {square!r})"
        for what, (far, most), path in zip(("mean", "mean square"), (mean, off), paths, strict=True):
            if far > most:
                words = f"the {what} of {name} is off by {far / most:.3g} times what chance allows"
                return Difference(what, f"{path}.abs().max().item()", float(far), 0.0, words, float(most))
            worst = max(worst, float(far / most))
    return Holds(worst)


@law(
    "No two rows and no two columns of many draws are equal, or each other's negative.",
    source="independent draws: probability below 2^-60",
    when=lambda case: draws_alike(case) and case.size > 4000 and case.dtype in ("float32", "float64"),
    obliges={"many"},
)
def rows_and_columns_differ(case: Filling, out: Outcome) -> Finding:
    values = np.asarray(out.values.values, np.float64).reshape(case.shape[0], -1)
    for name, table in (("rows", values), ("columns", values.T)):
        weights = (stream.below(stream.derive("filling", table.shape[1]), table.shape[1], 1 << 20) + 1).astype(
            np.float64
        )
        marks = np.sort(np.abs(table @ weights))
        if (np.diff(marks) == 0).any():
            turned = f"{{}}.reshape({values.shape}){'' if name == 'rows' else '.T'}"
            apart = out.values.derived(f"len(({turned} * {turned}[:, :1].sign()).unique(dim=0))")
            words = f"two {name} are equal or opposite"
            return Difference("repeated", apart.path, apart.raw, len(table), words)
    return HOLDS


@law(
    "orthogonal_ gives rows (or columns, whichever are fewer) that are orthogonal and as long as the gain.",
    source="torch.nn.init.orthogonal_; Higham 2002, Theorem 19.4: |QᵀQ − I| ≤ c·m·n·u, c = 8",
    when=lambda case: case.fill in ORTHOGONAL and fills(case) and case.size > 0,
    obliges={"fill=orthogonal_wide", "rank=3"},
)
def orthogonal_is_orthogonal(case: Filling, out: Outcome) -> Finding:
    values = np.asarray(out.values.values, np.float64).reshape(case.shape[0], -1)
    few = values if values.shape[0] <= values.shape[1] else values.T
    product, gain = few @ few.T, ORTHOGONAL[case.fill]
    limit = 8 * values.size * case.format.unit_roundoff * gain**2
    off = float(np.abs(product - gain**2 * np.eye(len(few))).max())
    if off <= limit:
        return Holds(float(off / limit))
    table = f"{out.values.path}.double().reshape({values.shape})"
    rows = table if few is values else f"{table}.T"
    path = f"({rows} @ {rows}.T - {gain**2!r} * torch.eye({len(few)})).abs().max().item()"
    return Difference("orthogonal", path, off, 0.0, f"W Wᵀ is off by {off:.3g} > {limit:.3g}", limit)


@law(
    "orthogonal_ draws from all directions: of many unit vectors some have a positive first element and some a negative one.",
    source="torch.nn.init.orthogonal_: Mezzadri 2007, How to generate random matrices; probability of one sign below 2^-62",
    when=lambda case: case.fill == "orthogonal_firsts" and fills(case) and case.size > 63,
    obliges={"fill=orthogonal_firsts", "own_generator"},
)
def orthogonal_has_no_side(case: Filling, out: Outcome) -> Finding:
    both = out.values.derived("bool(({} > 0).any() and ({} < 0).any())")
    return is_true(both, "all have one sign")


@law(
    "sparse_ leaves the asked share of each column zero, rounded up, and draws the rest.",
    source="torch.nn.init.sparse_: the fraction of elements in each column to be set to zero",
    when=lambda case: case.fill in SPARSITY and fills(case),
    obliges={"fill=sparse_half", "fill=sparse_tenth"},
)
def sparse_has_its_zeros(case: Filling, out: Outcome) -> Finding:
    zeros = (out.values.values == 0).sum(0)
    wanted = math.ceil(SPARSITY[case.fill] * case.shape[0])
    if (zeros == wanted).all():
        return HOLDS
    path = f"({out.values.path} == 0).sum(0).tolist()"
    words = f"{zeros.tolist()} zeros in the columns, expected {wanted}"
    return Difference("zeros", path, zeros.tolist(), [wanted] * len(zeros), words)


@law(
    "An initialiser fills its tensor in place, returns it, counts as a write, and leaves requires_grad.",
    source="torch.nn.init: fill the input tensor; without autograd",
    when=fills,
    obliges={"layout=column_slice", "layout=strided", "dtype=bfloat16", "rank=0", "detached"},
)
def filling_is_in_place(case: Filling, out: Outcome) -> Finding:
    return every(
        is_true(out.returned, "another tensor was returned"),
        is_true(out.placed, "memory, strides or dtype changed"),
        is_true(out.counted, "the version did not move"),
        is_true(out.rooted, "the Parameter's requires_grad or graph changed"),
        is_true(out.graded, "the Parameter's gradient changed"),
        unwritten(out, "weight"),
    )


@law(
    "Numbers come from the generator that is given and from no other: seeded alike they are alike, and then they go on.",
    source="torch.nn.init: generator",
    when=fills,
    obliges={"own_generator", "drawn"},
)
def generator_decides(case: Filling, out: Outcome) -> Finding:
    random = draws_alike(case) and case.size > 8
    again = same(out.again, out.values.require())
    if case.own_generator:
        again = every(again, is_true(out.undisturbed, "torch's own generator was used"))
    if random and np.array_equal(out.following.values, out.values.values):
        path = f"torch.equal({out.following.path}, {out.values.path})"
        return Difference("repeated", path, True, False, "the same numbers were drawn twice")
    return again


@law(
    "calculate_gain is that of the table, for a slope of zero too; an unknown name and a slope of text are refused.",
    source="torch.nn.init.calculate_gain",
    when=lambda case: case.gains,
)
def gains_are_those_of_the_table(case: Filling, out: Outcome) -> Finding:
    wanted = np.array(list(GAINS.values()))
    return every(
        within(out.gains, wanted, 4 * 2.0**-53 * wanted), same(out.refused, ["unknown", "leaky_relu", "leaky_relu"])
    )


test_scope, test_product, test_random = filling.tests()
