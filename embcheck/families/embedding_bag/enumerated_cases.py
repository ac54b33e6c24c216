"""Bags that are enumerated: every small cut of every small sequence, flags that meet, every width and number of tokens."""

import itertools
from collections.abc import Iterable, Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.layout import CROWDED, FAR, LAYOUTS, SHARED
from embcheck.families.embedding_bag.cases import LATE_STRAYS, MODES, OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES
from embcheck.families.embedding_bag.offsets import BAGS, WRONG_OFFSETS, cuts
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, BAG_HISTORIES
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.lookup import cases

MISTAKES = (*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS, *BAG_MISTAKES)


def small_cases() -> Iterator[BagCase]:
    """Every cut of every sequence of up to 4 tokens in tables of up to 3 rows, for every mode and padding_idx."""
    for numel, rows in sorted(itertools.product(range(5), range(1, 4)), key=lambda pair: (sum(pair), pair)):
        if rows**numel > 16:
            continue
        for position, (tokens, lengths) in enumerate(
            itertools.product(itertools.product(range(rows), repeat=numel), cuts(numel))
        ):
            turn: dict[str, Any] = {"seed": position, "include_last_offset": position % 3 == 1}
            turn["dtype"] = tuple(FORMATS)[position % 4]
            for padding, mode in itertools.product((None, *range(-rows, rows)), MODES):
                yield BagCase(rows, 2, mode, numel, lengths, indices=tokens, padding_idx=padding, **turn)


def weighted_cases() -> Iterator[BagCase]:
    """Every combination of what per_sample_weights meet: what learns, padding, dtype, layout, input, history of flags."""
    sizes = ((6, "unequal"), (9, "empty_middle"), (64, "pairs"), (65, "empty_last"), (129, "fours"))
    combinations = itertools.product(
        ("small", "real"),
        ("both", "weights", "table"),
        (None, 0, -1),
        FORMATS,
        ("contiguous", "strided", "offset"),
        (False, True),
    )
    for seed, (weights, learns, padding, dtype, layout, batch) in enumerate(combinations):
        numel, bags = sizes[seed % 5]
        yield BagCase(
            3, (2, 17, 1, 8)[seed % 4], "sum", numel, bags, batch, seed % 3 == 1, indices=("unequal", "uniform")[seed % 2],
            padding_idx=padding, sparse=seed % 7 == 3, scale_grad_by_freq=seed % 5 == 1, weights=weights, learns=learns,
            dtype=dtype, weights_layout=layout, layout=LAYOUTS[seed % 6], index_dtype=("int64", "int32")[seed % 2], seed=seed,
        )  # fmt: skip


def size_cases() -> Iterator[BagCase]:
    """Every width, number of tokens and number of rows up to 131, one at a time; the other axes take turns."""
    sizes = [
        *((3, n, 6) for n in range(132)),
        *((3, 2, n) for n in range(1, 132)),
        *((n, 2, 9) for n in range(1, 132)),
        *((rows, width, 5) for rows in range(1, 9) for width in range(9)),
    ]
    for position, (rows, width, numel) in enumerate(sizes):
        yield sized_case(position, rows, width, numel)


def sized_case(position: int, rows: int, width: int, numel: int) -> BagCase:
    """A case of a size whose other axes are drawn, most of them simple."""
    draws = stream.Stream(stream.derive("bag sizes", position))
    mode = MODES[position % 3]
    return BagCase(
        rows,
        width,
        mode,
        numel,
        draws.choice(BAGS),
        batch=draws.chance(4),
        include_last_offset=draws.chance(3),
        trailing=draws.choice((0, 0, 0, 1)),
        indices=draws.choice(("unequal", "uniform", "permutation", "late_padding")),
        padding_idx=cases.padding_of(draws.choice((None, None, 0, "last", -1)), rows),
        scale_grad_by_freq=draws.chance(4),
        sparse=draws.chance(4),
        weights=draws.choice((None, "small", "real")),
        learns=draws.choice(("table", "both", "table", "weights")),
        dtype=tuple(FORMATS)[position // 3 % 4],
        index_dtype=draws.choice(("int64", "int32")),
        offset_dtype=draws.choice(("int64", "int32")),
        threads=1 + draws.between(0, 1),
        seed=position,
    )


def varied(case: BagCase, **axes: Iterable[Any]) -> Iterator[BagCase]:
    """The case with every combination of values of some axes."""
    for values in itertools.product(*axes.values()):
        yield case.but(**dict(zip(axes, values, strict=True)))


def refused_cases() -> Iterator[BagCase]:
    """Every mistake that is made by the arrays that are fed, with what may decide whether it is seen."""
    first, both = BagCase(3, 2), (False, True)
    entries = ("functional", "module", "aten", "forward_only")
    for mistake, mode, padding in itertools.product((*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS), MODES, (None, 0, -1)):
        wrong = first.but(mode=mode, numel=3, padding_idx=padding, mistake=mistake)
        weights = (None, "small") if mode == "sum" else (None,)
        yield from varied(wrong, weights=weights, dtype=FORMATS, batch=both, entry=entries)
    for seed, mistake in enumerate(STRAYS):
        narrow = first.but(bags=("pairs", "unequal")[seed % 2], index_dtype="int32", mistake=mistake, seed=seed)
        yield from varied(narrow, mode=MODES, batch=both, dtype=FORMATS)
    for mistake, several in WRONG_OFFSETS.items():
        for cut in varied(first.but(mistake=mistake), seed=range(len(several)), mode=MODES, padding_idx=(None, 1)):
            yield from varied(cut, dtype=("float32", "float64"), include_last_offset=both)
            yield from varied(cut.but(index_dtype="int32"), include_last_offset=both)
    for seed, mistake in enumerate(LATE_STRAYS):
        late = first.but(numel=3, mistake=mistake, seed=seed)
        yield from varied(late, mode=MODES, sparse=both, route=("value", "backward_call"), dtype=FORMATS)


def scope() -> Iterator[BagCase]:
    spelled = (
        BagCase(5, 3, mode, numel, pattern, batch, last, entry=entry, seed=seed, padding_idx=(None, 1)[seed % 2])
        for seed, (entry, mode, numel, pattern, batch, last) in enumerate(
            itertools.product(BAG_ENTRIES, MODES, (0, 4, 7), BAGS, (False, True), (False, True))
        )
    )
    unbagged = varied(
        BagCase(3, 2, numel=0, bags=()), mode=MODES, include_last_offset=(False, True), trailing=(1, 2),
        padding_idx=(None, 1), dtype=FORMATS, route=("value", "backward_call"),
    )  # fmt: skip
    found = itertools.chain(small_cases(), spelled, size_cases(), weighted_cases(), refused_cases(), unbagged)
    return (case for case in map(repair, found) if case)


def fixed_cases() -> Iterator[BagCase]:
    """Sizes beyond the thresholds, two at a time, in every mode; every mistake; what a format can't count or hold."""
    yield from vast_means()
    for mode, bags in itertools.product(("sum", "mean"), ("pairs", "unequal", "empty_middle")):
        yield BagCase(3, 2, mode, bags=bags, learns="none", route="value", entry="nested")
    yield from (BagCase(3, 2, mistake=mistake, dtype=dtype) for mistake in MISTAKES for dtype in FORMATS)
    yield from filter(None, (repair(BagCase(3, 2, mistake=name, on_meta=True)) for name in BAG_MISTAKES))
    sizes = [
        *((5, width, numel) for numel in (65, 129, 1001, 3073) for width in (1, 17, 33)),
        *((5, width, 9) for width in (7, 8, 16, 31, 32, 63, 64, 65, 127, 128, 129)),
        *((rows, 3, numel) for rows in (1001, 2001) for numel in (9, 1001)),
    ]
    for position, (rows, width, numel) in enumerate(sizes):
        for turn in range(3):
            yield sized_case(3 * position + turn, rows, width, numel).but(trailing=0)
    for mode, dtype, (numel, rows) in itertools.product(MODES, FORMATS, ((256, 65), (512, 129), (4096, 257))):
        # More tokens than a narrow format counts; their sum is a small number in any order, so the mean is exact.
        for padding, (width, batch) in itertools.product((None, 1), ((9, False), (3, True))):
            yield BagCase(rows, width, mode, numel, "one", batch, dtype=dtype, values="rare", indices="permutation",
                          padding_idx=padding)  # fmt: skip
    for dtype, learns in itertools.product(FORMATS, ("both", "weights")):
        # Padding alone lies behind the last offset, which no kernel counts.
        yield BagCase(4, 2, numel=5, bags=(2, 3), include_last_offset=True, trailing=2, indices=(0, 1, 2, 3, 0, 1, 1),
                      padding_idx=1, weights="small", learns=learns, dtype=dtype)  # fmt: skip
    for seed, (width, numel, mode, dtype) in enumerate(
        itertools.product((17, 33), (66, 130), MODES[:2], ("float32", "float64", "bfloat16"))
    ):
        # A bag longer than a block of tokens, rows wider than a block of columns, by the kernel that keeps nothing.
        yield BagCase(5, width, mode, numel, "one", indices="unequal", learns="none", dtype=dtype, seed=seed)
    for seed, (mode, batch) in enumerate(itertools.product(MODES, (False, True))):
        # Rows that are reduced in blocks of columns, and more bags than a grid has blocks; each row as often as the others.
        scaled = mode != "max"
        yield BagCase(5, 1031, mode, 6, batch=batch, indices="permutation", dtype=tuple(FORMATS)[seed % 4], seed=seed)
        yield BagCase(5, 1, mode, 1030, "singletons", batch, scale_grad_by_freq=scaled, seed=seed)
    for seed, (rows, numel, mode) in enumerate(itertools.product((1, 2), (256, 300, 1024), MODES[:2])):
        # One row more often than a byte can count.
        yield BagCase(rows, 2, mode, numel, ("fours", "pairs")[seed % 2], indices=("same", "skewed")[rows - 1],
                      scale_grad_by_freq=True, dtype=("float32", "float64")[seed // 2 % 2], seed=seed)  # fmt: skip
    for width, dtype, mode in itertools.product((33, 70), FORMATS, MODES):
        # Numbers that fill their format: what is narrowed on the way shows.
        yield BagCase(4, width, mode, 6, "unequal", weights="real" if mode == "sum" else None, learns="both", values="real",
                      upstream="real", dtype=dtype)  # fmt: skip
    for seed, (dtype, batch) in enumerate(itertools.product(FORMATS, (False, True))):
        # Numbers that a narrower format can't tell apart.
        yield BagCase(
            5, 17, "max", 8, "fours", batch, indices="uniform", learns="table", values="near", dtype=dtype, seed=seed
        )
    for history, mode in itertools.product(BAG_HISTORIES, MODES):
        # What is kept between calls is kept most easily where nothing learns.
        yield BagCase(5, 2, mode, 6, "unequal", history=history, learns="none", indices="uniform")
    # The first and the last row of tall tables, beside either as padding.
    tall = itertools.product((203, 1001, 4099), ("sum", "weighted", "mean", "max"), (None, 0, -1))
    for seed, (rows, mode, padding) in enumerate(tall):
        weights, mode = ("small", "sum") if mode == "weighted" else (None, mode)
        yield BagCase(rows, 3, mode, 9, "unequal", seed % 5 == 1, indices="ends", padding_idx=padding, weights=weights,
                      learns="both", dtype=tuple(FORMATS)[seed % 4 if seed % 2 else 0], seed=seed)  # fmt: skip
    yield from edges()


def vast_means() -> Iterator[BagCase]:
    """Means whose sums are beyond half precision, and of single rows that are near its end."""
    taken = itertools.product(
        ("singletons", "pairs", "empty_middle"), (False, True), (None, 1), ("value", "backward_call")
    )
    for seed, (bags, batch, padding, route) in enumerate(taken):
        yield BagCase(4, (2, 17)[seed // 2 % 2], "mean", 6, bags, batch, indices="permutation", padding_idx=padding,
                      dtype="float16", values="vast", route=route, seed=seed)  # fmt: skip


def edges() -> Iterator[BagCase]:
    """Bags, tokens and rows whose numbers 15 or 16 bits count or don't, and rows that lie further apart."""
    for seed, (count, mode) in enumerate(itertools.product(cases.EDGES, MODES)):
        weights = "small" if mode == "sum" and seed % 2 else None
        common: dict[str, Any] = {"weights": weights, "learns": "both" if weights else "table", "seed": seed}
        yield BagCase(5, 1, mode, count, "singletons", seed // 3 % 2 == 1, indices="uniform", values="small",
                      padding_idx=(1, None)[seed % 2], index_dtype=("int64", "int32")[seed // 2 % 2],
                      offset_dtype=("int64", "int32")[seed % 2], **common)  # fmt: skip
        yield BagCase(count, 1, mode, 6, "pairs", seed // 3 % 2 == 0, indices="ends", sparse=seed % 6 == 4, **common)
        yield BagCase(5, 1, mode, count, "one", indices="uniform", values="rare", route="value", seed=seed)
    # Rows that are wider than a block of any kernel, in products with which weights learn.
    taken = itertools.product((1025, 2049, 4097), ("both", "weights"), FORMATS)
    for seed, (width, learns, dtype) in enumerate(taken):
        yield BagCase(3, width, "sum", 5, "unequal", seed % 3 == 1, weights="small", learns=learns, indices="uniform",
                      values="small", dtype=dtype, index_dtype=("int64", "int32")[seed % 2],
                      padding_idx=(None, 0)[seed // 4 % 2], sparse=learns == "both" and seed % 4 == 0, seed=seed)  # fmt: skip
    for layout, mode, batch in itertools.product(FAR, MODES, (False, True)):
        weights = "small" if mode == "sum" else None
        common = {"weights": weights, "learns": "both" if weights else "table", "indices": "permutation"}
        dtype = "float32" if batch else "bfloat16"
        yield BagCase(3, 2, mode, 6, "pairs", batch, layout=layout, upstream_layout=layout, dtype=dtype, **common)
        if batch:
            yield BagCase(3, 2, mode, 6, "pairs", batch, index_layout=layout, weights_layout=layout, **common)
    for layout in LAYOUTS:
        yield BagCase(
            3, 2, "sum", 6, "pairs", True, indices="permutation", weights="small", learns="both", weights_layout=layout
        )
    for (numel, bags), dtype, batch, padding in itertools.product(
        ((300, "one"), (1100, "long_last")), ("bfloat16", "float16"), (False, True), (None, 1)
    ):
        # Sums whose next row is less than the last digit that the format has of them.
        for weights in (None, "small"):
            yield BagCase(3, 3, "sum", numel, bags, batch, indices="skewed", padding_idx=padding, dtype=dtype,
                          values="small", weights=weights)  # fmt: skip
    sums = itertools.product(("expanded", *SHARED), ((33, 9), (129, 65)), MODES)
    for seed, (layout, (width, numel), mode) in enumerate(sums):
        # Upstream gradients of strides 0, as sums have.
        weights = ("small", None)[seed // 3 % 2] if mode == "sum" else None
        yield BagCase(5, width, mode, numel, "unequal", indices="skewed", padding_idx=(None, 1)[seed % 2], weights=weights,
                      learns="both" if weights else "table", dtype=tuple(FORMATS)[seed % 4], upstream_layout=layout, seed=seed,
                      sparse=mode != "max" and seed % 5 == 4)  # fmt: skip
    slices = itertools.product((4, 9, 18), ("int64", "int32"), (False, True), MODES)
    for seed, (numel, index_dtype, cut, mode) in enumerate(slices):
        # Slices of longer rows of tokens, of cuts and of weights.
        weights = ("small", None)[seed // 3 % 2] if mode == "sum" else None
        yield BagCase(7, 2, mode, numel, "pairs", not cut, indices="uniform", index_layout=CROWDED, index_dtype=index_dtype,
                      offset_dtype=index_dtype, offset_layout=CROWDED, weights=weights, seed=seed,
                      weights_layout=CROWDED if weights else "contiguous", upstream_layout=CROWDED)  # fmt: skip
    for dtype, batch in itertools.product(("bfloat16", "float16"), (False, True)):
        # The same of the sums of means.
        yield BagCase(3, 3, "mean", 300, "one", batch, indices="skewed", padding_idx=1, dtype=dtype, values="small")
