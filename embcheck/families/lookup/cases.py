"""The space of lookups: every small case, every combination of flags, sizes on both sides of every threshold.

Shared by the families that look rows up in a table (lookup, gradient, padding).
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from embcheck.core import stream
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS
from embcheck.core.layout import CROWDED, FAR, LAYOUTS
from embcheck.core.pattern import PATTERNS, STRAYS
from embcheck.core.rules import Rule, fitted

#: Where kernels change their path, from both sides (read from ATen's Embedding.cpp, Embedding.cu,
#: TensorAdvancedIndexing.cpp, EmbeddingBag.cpp), and the powers of two at which others are likely to.
TOKENS = (0, 1, 2, 3, 5, 8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257, 300, 511, 512, 513, 767, 768,
          769, 999, 1000, 1001, 1023, 1024, 1025, 2047, 2048, 2049, 3071, 3072, 3073, 4095, 4096, 4097, 5000, 8193)  # fmt: skip
ROWS = (1, 2, 3, 5, 7, 8, 10, 16, 17, 31, 32, 33, 63, 64, 65, 100, 127, 128, 129, 255, 256, 257, 500, 511, 512, 513, 999, 1000,
        1001, 1023, 1024, 1025, 2000, 2001, 2047, 2048, 2049, 4095, 4096, 4097, 5000, 8193)  # fmt: skip
WIDTHS = (0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 20, 24, 31, 32, 33, 48, 63, 64, 65, 96, 100, 127, 128, 129, 192, 255, 256,
          257, 300, 511, 512, 513, 768, 1023, 1024, 1025)  # fmt: skip
HUGE_TOKENS = (10_000, 16_385, 32_769, 65_537)
HUGE_ROWS = (10_001, 16_385, 30_522, 32_000, 32_769, 50_257, 65_536, 65_537)
HUGE_WIDTHS = (2_049, 4_097)

#: Both sides of what 15 and 16 bits count.
EDGES = (32_768, 32_769, 65_536, 65_537)

#: A case touches at most this many elements of table, output or upstream gradient.
LARGEST = 1 << 19

SHAPES = ((3,), (), (1,), (4,), (0,), (2, 3), (3, 1), (2, 0), (1, 1), (2, 2, 2), (3, 1, 2), (1, 2, 2, 2), (2, 1, 0, 3))
PADDINGS = (None, 0, 1, -1, -2, "last", "-V")
PATTERN_NAMES = tuple(PATTERNS)


def padding_of(name: int | str | None, rows: int) -> int | None:
    """A padding_idx that fits a table: ``last`` and ``-V`` are resolved, other numbers wrapped into range."""
    if name is None or not rows:
        return None
    if isinstance(name, str):
        return {"last": rows - 1, "-V": -rows}[name]
    return name if -rows <= name < rows else name % rows


def every_shape() -> Iterator[tuple[int, ...]]:
    """Every index shape with up to four axes of 0 to 3, by number of elements."""
    shapes = [shape for rank in range(5) for shape in itertools.product(range(4), repeat=rank)]
    return iter(sorted(shapes, key=lambda shape: (math.prod(shape), len(shape), shape)))


def small_cases(**fixed: Any) -> Iterator[LookupCase]:
    """Every multiset-with-order of up to 4 tokens in tables of up to 3 rows, for every padding_idx, by size."""
    for numel, rows in sorted(itertools.product(range(5), range(1, 4)), key=lambda pair: (sum(pair), pair)):
        for tokens in itertools.product(range(rows), repeat=numel):
            for padding in (None, *range(-rows, rows)):
                yield LookupCase(rows, 2, tokens, (numel,), padding, **fixed)


def shape_cases(**fixed: Any) -> Iterator[LookupCase]:
    """Every shape of up to 4 axes of 0 to 3, every table with up to 3 rows and columns (0 included)."""
    for position, shape in enumerate(every_shape()):
        yield LookupCase(4, 3, PATTERN_NAMES[position % 4], shape, seed=position, **fixed)
    for rows, width in itertools.product(range(4), range(4)):
        shapes = ((0,), (2, 0)) if rows == 0 else ((), (0,), (3,), (2, 2))
        for shape in shapes:
            yield LookupCase(rows, width, "ends", shape, **fixed)


def size_cases(**fixed: Any) -> Iterator[LookupCase]:
    """Every width, every number of tokens and every number of rows up to 131, one at a time, and the small ones in
    pairs; dtypes, ranks and paddings take turns.  For faults of one size that is no threshold."""
    sizes = [
        *((3, n, 4) for n in range(1, 132)),
        *((3, 2, n) for n in range(1, 132)),
        *((n, 2, 9) for n in range(1, 132)),
        *((rows, width, 5) for rows in range(1, 13) for width in range(1, 13)),
    ]
    dtypes = tuple(FORMATS)
    for position, (rows, width, numel) in enumerate(sizes):
        turns = stream.Stream(stream.derive("sizes", position))
        yield LookupCase(
            rows,
            width,
            ("ends", "uniform", "permutation", "unequal")[position % 4],
            turns.choice(((numel,), (numel, 1), (1, numel), (1, numel, 1))),
            padding_of(turns.choice((None, None, 0, "last", -1)), rows),
            dtype=turns.choice(dtypes),
            index_dtype=turns.choice(("int64", "int32")),
            seed=position,
            **fixed,
        )


def coincident_cases(**fixed: Any) -> Iterator[LookupCase]:
    """Tables and indices whose sizes agree: every axis is n or 2n; dtypes, patterns and paddings take turns.

    For faults that take one axis for another where nothing tells them apart.
    """
    shapes = [shape for rank in (1, 2, 3) for shape in itertools.product((1, 2), repeat=rank)]
    combinations = itertools.product((2, 3, 4), (1, 2), (1, 2), shapes)
    for position, (n, rows, width, shape) in enumerate(combinations):
        yield LookupCase(
            n * rows, n * width, ("uniform", "permutation", "descending", "unequal")[position % 4],
            tuple(n * size for size in shape), (None, 0, -1)[position % 3], dtype=tuple(FORMATS)[position // 2 % 4],
            index_dtype=("int64", "int32")[position // 3 % 2], seed=position, **fixed,
        )  # fmt: skip


def fixed_cases(**fixed: Any) -> Iterator[LookupCase]:
    """Tables, widths and token counts beyond the thresholds of ATen's kernels, two at a time, in every dtype."""
    dtypes, paddings = tuple(FORMATS), (None, "last", 0, -1)
    sizes = [
        *((5, width, numel) for numel in (17, 65, 257, 513, 769, 1001, 2049, 3073, 4097) for width in (1, 33, 129)),
        *((rows, width, 9) for rows in (33, 129, 257, 513, 1001, 2001, 4097) for width in (1, 129)),
        *((rows, 3, numel) for rows in (1001, 2001) for numel in (1001, 3073)),
    ]
    for position, (rows, width, numel) in enumerate(sizes):
        for turn in range(2):
            k = position + turn
            yield LookupCase(
                rows,
                width,
                ("unequal", "uniform", "late_padding", "ends")[k % 4],
                ((numel,), (numel, 1), (1, numel, 1))[(position + position // 3 + 2 * turn) % 3],
                padding_of(paddings[(k // 2) % 4], rows),
                scale_grad_by_freq=k % 5 == 1,
                sparse=k % 5 == 2,
                dtype=dtypes[(position // 3 + turn) % 4],
                index_dtype=("int64", "int32")[k % 2],
                threads=1 + turn,
                seed=position,
                **fixed,
            )
    for rows in HUGE_ROWS:
        yield LookupCase(rows, 1, "ends", (9,), scale_grad_by_freq=rows % 2 == 1, dtype=dtypes[rows // 2 % 2], **fixed)
    for numel in HUGE_TOKENS:
        # Positions that 16 bits don't count.
        yield LookupCase(5, 1, "uniform", (numel,), dtype=dtypes[numel % 2], seed=numel, **fixed)
    for dtype in dtypes:
        # Rows that are copied in blocks, and elements that 16 bits don't count.
        yield LookupCase(3, 1025, "permutation", (5,), dtype=dtype, **fixed)
        yield LookupCase(3, 4097, "permutation", (2, 2), dtype=dtype, **fixed)
        yield LookupCase(1025, 129, "uniform", (9,), dtype=dtype, seed=1, **fixed)
        yield LookupCase(3, 2, "unequal", (3073,), dtype=dtype, **fixed)
        yield LookupCase(3, 2, "unequal", (3073,), 1, dtype=dtype, scale_grad_by_freq=True, **fixed)
    for seed, (rows, shape) in enumerate(itertools.product(EDGES, ((2, 2), (1, 4, 1), ()))):
        # The first and the last row, whose numbers fit or don't, at every rank.
        for turn in range(2):
            yield LookupCase(
                rows, 1 + turn, ("ends", "uniform")[turn], shape, padding_of((None, "last", 0)[seed % 3] if turn else None, rows),
                sparse=turn == 1 and seed % 2 == 1, dtype=dtypes[seed % 4], index_dtype=("int64", "int32")[seed % 2],
                seed=seed, **fixed,
            )  # fmt: skip
    for seed, shape in enumerate(shape for numel in EDGES for shape in ((1, numel), (numel, 1, 1))):
        yield LookupCase(
            5, 1, "uniform", shape, (None, 1)[seed // 2 % 2], seed % 3 == 2, seed % 3 == 1, dtype=dtypes[seed % 2],
            index_dtype=("int64", "int32")[(seed + 1) // 2 % 2], seed=seed, **fixed,
        )  # fmt: skip
    for seed, (layout, shape) in enumerate(itertools.product(FAR, ((4,), (2, 2), ()))):
        yield LookupCase(3, 2, "permutation", shape, layout=layout, dtype=dtypes[seed % 4], seed=seed, **fixed)
        yield LookupCase(3, 2, "permutation", shape, upstream_layout=layout, dtype=dtypes[seed % 4], seed=seed, **fixed)
        yield LookupCase(
            3, 2, "permutation", shape, 1, index_layout=layout, index_dtype=("int64", "int32")[seed % 2], **fixed
        )
    for seed, (shape, index_dtype) in enumerate(itertools.product(((4,), (9,), (2, 5), (17,)), ("int64", "int32"))):
        yield LookupCase(
            7, 2, "uniform", shape, (None, 1)[seed % 2], index_layout=CROWDED, index_dtype=index_dtype, **fixed
        )
        yield LookupCase(
            7, 3, "uniform", shape, layout=CROWDED, upstream_layout=CROWDED, dtype=dtypes[seed % 4], seed=seed, **fixed
        )


def spread(numel: int, draws: stream.Stream) -> tuple[int, ...]:
    """A shape of ``numel`` elements and rank 0 to 4."""
    if numel == 1:
        return draws.choice(((), (1,), (1, 1), (1,)))
    shape = [numel]
    while len(shape) < 4 and draws.chance(3):
        divisors = [k for k in (2, 3, 4, 5, 7, 1) if shape[0] and shape[0] % k == 0]
        if not divisors:
            break
        factor = draws.choice(divisors)
        shape = [shape[0] // factor, *shape[1:], factor]
    return tuple(shape)


def threshold_case(draws: stream.Stream, axes: Mapping[str, tuple[Any, ...]]) -> LookupCase:
    """A random case whose sizes cross thresholds, two at a time, and whose other axes are mostly simple.

    Of (tokens, rows, columns) two are drawn from the threshold lists and the third is small, or all three are
    drawn and the largest is cut until the case fits.
    """
    numel = draws.choice(HUGE_TOKENS if draws.chance(64) else TOKENS)
    rows = draws.choice(HUGE_ROWS if draws.chance(64) else ROWS)
    width = draws.choice(HUGE_WIDTHS if draws.chance(64) else WIDTHS)
    match draws.between(0, 5):
        case 0 | 1:
            numel = draws.choice(TOKENS[:9])
        case 2 | 3:
            width = draws.choice(WIDTHS[:8])
        case 4:
            rows = draws.choice(ROWS[:9])
    if draws.chance(3):
        # Sizes between the thresholds: a fault may have any.
        numel, rows, width = (
            draws.between(1, 200) if size <= 1100 and draws.chance(2) else size for size in (numel, rows, width)
        )
    if draws.chance(3):
        numel, rows, width = numel % 40, rows % 12 + 1, width % 20
    # Most faults of size show at the threshold of one or two sizes: few cases need to be as large as can be.
    largest = LARGEST if draws.chance(6) else LARGEST >> 4
    while max(rows, numel) * max(width, 1) > largest:
        if width > 8:
            width = draws.choice(WIDTHS[:12])
        elif numel >= rows:
            numel = draws.choice(TOKENS)
        else:
            rows = draws.choice(ROWS)
    chosen: dict[str, Any] = {}
    for name, values in axes.items():
        if name in ("num_embeddings", "embedding_dim", "shape", "indices", "seed"):
            continue
        chosen[name] = draws.choice(values) if draws.chance(2) or len(values) > 4 else values[0]
    # A stray index makes the case a refusal, which says nothing else.
    if "out_of_range" in chosen and not draws.chance(16):
        chosen["out_of_range"] = None
    chosen["seed"] = draws.between(0, 1 << 20)
    return LookupCase(rows, width, draws.choice(PATTERN_NAMES), spread(numel, draws), **chosen)


_RULES: tuple[Rule, ...] = (
    (lambda c: not c.numel, {"out_of_range": None}),
    (lambda c: c.layout == "expanded" and c.requires_grad, {"layout": "column_slice"}),
    (lambda c: c.upstream_layout == "expanded", {"upstream": "ones"}),
    (lambda c: c.index_layout == "expanded" and c.indices in PATTERN_NAMES, {"indices": "same"}),
    # More ones than the format can count: there is no exact answer, so let fewer tokens speak.
    (
        lambda c: c.upstream == "ones" and 4 * c.max_count > c.format.largest_integer,
        {"upstream": "code", "upstream_layout": "contiguous"},
    ),
)


def repair(case: LookupCase) -> LookupCase | None:
    if isinstance(case.indices, tuple) and len(case.indices) != case.numel:
        return None
    if case.num_embeddings == 0 and case.numel and case.out_of_range is None:
        return None
    return fitted(case.but(padding_idx=padding_of(case.padding_idx, case.num_embeddings)), _RULES)


def smaller_tables(case: LookupCase) -> Iterator[LookupCase]:
    for axis, floor in (("num_embeddings", 1), ("embedding_dim", 1)):
        size = getattr(case, axis)
        for less in towards(size, floor):
            fitted = case.but(**{axis: less})
            if axis == "num_embeddings" and isinstance(case.indices, tuple):
                fitted = fitted.but(indices=tuple(min(token, less - 1) for token in case.indices))
            if axis == "num_embeddings" and case.padding_idx is not None and not -less <= case.padding_idx < less:
                fitted = fitted.but(padding_idx=less - 1 if case.padding_idx > 0 else -less)
            yield fitted
    if isinstance(case.indices, str):
        for less in towards(case.numel, 0):
            yield case.but(shape=(less,))
        if len(case.shape) > 1:
            yield case.but(shape=(case.numel,))
        for pattern in itertools.takewhile(lambda name: name != case.indices, PATTERN_NAMES):
            yield case.but(indices=pattern)
        if case.numel <= 8 and case.out_of_range is None:
            yield case.but(indices=tuple(case.tokens.tolist()))
    else:
        if len(case.shape) > 1:
            yield case.but(shape=(case.numel,))
        for position, token in enumerate(case.indices):
            rest = case.indices[:position] + case.indices[position + 1 :]
            yield case.but(indices=rest, shape=(len(rest),))
            for less in range(min(token, 4)):
                yield case.but(indices=(*case.indices[:position], less, *case.indices[position + 1 :]))
    for shape in SHAPES:
        if math.prod(shape) == case.numel and len(shape) < len(case.shape) and isinstance(case.indices, str):
            yield case.but(shape=shape)
    if len(case.shape) > 1:
        yield from shorter(case)


def shorter(case: LookupCase) -> Iterator[LookupCase]:
    """Fewer tokens of the same rank: what fails may need it."""
    for axis, length in enumerate(case.shape):
        for less in towards(length, 1):
            shape = (*case.shape[:axis], less, *case.shape[axis + 1 :])
            if isinstance(case.indices, str):
                yield case.but(shape=shape)
            else:
                left = np.reshape(case.indices, case.shape).take(range(less), axis)
                yield case.but(indices=tuple(left.ravel().tolist()), shape=shape)


def towards(size: int, floor: int) -> Iterator[int]:
    """Sizes below ``size``, the boldest cut first; thresholds are found by bisection."""
    step = size - floor
    while step > 0:
        yield size - step
        step //= 2


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 8),
    "embedding_dim": (2, 1, 3, 0, 8, 17),
    "indices": PATTERN_NAMES,
    "shape": SHAPES,
    "padding_idx": PADDINGS,
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
    "index_layout": LAYOUTS,
}
STRAY_AXIS = (None, *STRAYS)
