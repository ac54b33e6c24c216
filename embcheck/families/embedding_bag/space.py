"""The space of bags: every small cut of every small sequence, every combination of flags, sizes beyond the thresholds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import CROWDED, FAR, LAYOUTS, UPSTREAM_LAYOUTS
from embcheck.core.space import Space
from embcheck.families.embedding_bag.aimed import aimed_bag
from embcheck.families.embedding_bag.cases import LATE_STRAYS, OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.families.embedding_bag.earlier_bags import BAG_LATER, BAG_PASTS
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES, mistaken, mistaken_on_meta
from embcheck.families.embedding_bag.offsets import BAGS, WRONG_OFFSETS, cuts
from embcheck.families.embedding_bag.prior_calls import BAG_HISTORIES
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, bag
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.embedding_bag.routes import BAG_ROUTES
from embcheck.families.embedding_bag.smaller import smaller
from embcheck.families.lookup import cases

MODES = ("sum", "mean", "max")
#: Where the kernels change their path: generated code by width, grain sizes of samples and tokens (EmbeddingBag.cpp).
WIDTHS = (1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 96, 127, 128, 129, 256, 257)
TOKENS = (
    0,
    1,
    2,
    3,
    5,
    8,
    16,
    17,
    31,
    33,
    63,
    64,
    65,
    127,
    128,
    129,
    257,
    512,
    999,
    1000,
    1001,
    1025,
    2049,
    3072,
    3073,
)
ROWS = (1, 2, 3, 5, 8, 16, 17, 33, 64, 65, 129, 257, 1000, 1001, 2000, 2001, 4097)
_LARGEST = 1 << 16

AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 8),
    "embedding_dim": (2, 1, 3, 8, 17, 0),
    "mode": MODES,
    "numel": (4, 0, 1, 2, 3, 6, 8, 12),
    "bags": BAGS,
    "batch": (False, True),
    "include_last_offset": (False, True),
    "trailing": (0, 1, 3),
    "indices": cases.PATTERN_NAMES,
    "padding_idx": cases.PADDINGS,
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "weights": (None, "ones", "small", "real", "zero", "special"),
    "learns": ("table", "both", "weights", "none"),
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "offset_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
    "index_layout": LAYOUTS,
    "offset_layout": LAYOUTS,
    "weights_layout": LAYOUTS,
    "upstream_layout": UPSTREAM_LAYOUTS,
    "values": ("fingerprint", "small", "real", "special", "poisoned"),
    "upstream": ("code", "ones", "real", "special"),
    "entry": tuple(BAG_ENTRIES),
    "route": tuple(BAG_ROUTES),
    "history": tuple(BAG_HISTORIES),
    "threads": (1, 2),
}
MISTAKES = (*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS, *BAG_MISTAKES)


def plan(case: BagCase) -> Plan:
    fed = case.inputs()
    if case.mistake in BAG_MISTAKES:
        program = mistaken_on_meta if case.on_meta else mistaken
        return Plan(program, {"weight": fed["weight"]}, {"call": BAG_MISTAKES[case.mistake]}, case.threads)
    # The default mode is mean: half of the cases leave it to be that.
    flags: dict[str, Any] = {} if case.mode == "mean" and case.seed % 2 else {"mode": case.mode}
    for name in ("padding_idx", "scale_grad_by_freq", "sparse", "include_last_offset"):
        if getattr(case, name) != case._field_defaults[name]:
            flags[name] = getattr(case, name)
    options = {
        "build": BAG_ENTRIES[case.entry],
        "history": BAG_PASTS[case.history],
        "route": BAG_ROUTES[case.route],
        "flags": flags,
        "learns": case.learns,
    }
    return Plan(bag, fed, options, case.threads)


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
        yield _turning(position, rows, width, numel)


def _turning(position: int, rows: int, width: int, numel: int) -> BagCase:
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


def scope() -> Iterator[BagCase]:
    spelled = (
        BagCase(5, 3, mode, numel, pattern, batch, last, entry=entry, seed=seed, padding_idx=(None, 1)[seed % 2])
        for seed, (entry, mode, numel, pattern, batch, last) in enumerate(
            itertools.product(BAG_ENTRIES, MODES, (0, 4, 7), BAGS, (False, True), (False, True))
        )
    )
    wrong = (
        BagCase(
            3, 2, mode, 3, padding_idx=padding, weights=weights, dtype=dtype, batch=batch, entry=entry, mistake=mistake
        )
        for mistake in (*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS)
        for mode, padding, weights in itertools.product(MODES, (None, 0, -1), (None, "small"))
        for dtype, batch, entry in itertools.product(
            FORMATS, (False, True), ("functional", "module", "aten", "forward_only")
        )
        if weights is None or mode == "sum"
    )
    miscut = (
        BagCase(3, 2, mode, padding_idx=padding, dtype=dtype, include_last_offset=last, mistake=mistake, seed=seed)
        for mistake, several in WRONG_OFFSETS.items()
        for seed in range(len(several))
        for mode, padding, dtype, last in itertools.product(MODES, (None, 1), ("float32", "float64"), (False, True))
    )
    indexed = (
        BagCase(
            3,
            2,
            mode,
            4,
            ("pairs", "unequal")[seed % 2],
            batch,
            dtype=dtype,
            index_dtype="int32",
            mistake=mistake,
            seed=seed,
        )
        for seed, mistake in enumerate(STRAYS)
        for mode, batch, dtype in itertools.product(MODES, (False, True), FORMATS)
    )
    late = (
        BagCase(3, 2, mode, 3, sparse=sparse, route=route, dtype=dtype, mistake=mistake, seed=seed)
        for seed, mistake in enumerate(LATE_STRAYS)
        for mode, sparse, route, dtype in itertools.product(MODES, (False, True), ("value", "backward_call"), FORMATS)
    )
    unbagged = (
        BagCase(
            3,
            2,
            mode,
            0,
            (),
            include_last_offset=last,
            trailing=trailing,
            padding_idx=padding,
            dtype=dtype,
            route=route,
        )
        for mode, last, trailing in itertools.product(MODES, (False, True), (1, 2))
        for padding, dtype, route in itertools.product((None, 1), FORMATS, ("value", "backward_call"))
    )
    found = itertools.chain(
        small_cases(), spelled, size_cases(), weighted_cases(), wrong, indexed, miscut, late, unbagged
    )
    return (case for case in map(repair, found) if case)


def fixed_cases() -> Iterator[BagCase]:
    """Sizes beyond the thresholds, two at a time, in every mode; every mistake; every kind of empty bag."""
    yield from vast_means()
    for pattern, last, mode in itertools.product(("one", "pairs"), (False, True), MODES):
        yield BagCase(3, 2, mode, 0, pattern, include_last_offset=last, seed=2)
    yield from (BagCase(3, 2, mistake=mistake, dtype=dtype) for mistake in MISTAKES for dtype in FORMATS)
    yield from filter(None, (repair(BagCase(3, 2, mistake=name, on_meta=True)) for name in BAG_MISTAKES))
    sizes = [
        *((5, width, numel) for numel in (65, 129, 1001, 3073) for width in (1, 17, 33)),
        *((5, width, 9) for width in (7, 8, 16, 31, 32, 63, 64, 65, 127, 128, 129)),
        *((rows, 3, numel) for rows in (1001, 2001) for numel in (9, 1001)),
    ]
    for position, (rows, width, numel) in enumerate(sizes):
        for turn in range(3):
            yield _turning(3 * position + turn, rows, width, numel).but(trailing=0)
    for mode, dtype in itertools.product(MODES, FORMATS):
        yield BagCase(3, 0, mode, 5, "unequal", dtype=dtype, padding_idx=1)
        for k, pattern in enumerate(("empty_first", "empty_middle", "empty_last", "powers")):
            yield BagCase(3, 2, mode, 7, pattern, indices="permutation", padding_idx=(None, -1)[k % 2], dtype=dtype,
                          scale_grad_by_freq=k == 3, sparse=k == 2)  # fmt: skip
        yield BagCase(3, 2, mode, 4, indices="padding", padding_idx=2, dtype=dtype)
        yield BagCase(3, 2, mode, 6, "unequal", indices="late_padding", padding_idx=0, dtype=dtype, values="poisoned")
        yield BagCase(3, 2, mode, 4, batch=True, dtype=dtype, index_dtype="int32", values="special")
        yield BagCase(
            3, 2, mode, 4, include_last_offset=True, trailing=2, dtype=dtype, route="value", values="poisoned"
        )
    for mode, dtype, padding, route in itertools.product(MODES, FORMATS, (None, 1), ("value", "backward_call")):
        for weights in (None, "small"):
            yield BagCase(4, 2, mode, 5, "unequal", include_last_offset=True, trailing=2, indices="permutation",
                          padding_idx=padding, dtype=dtype, route=route, weights=weights, learns="both")  # fmt: skip
        yield BagCase(4, 2, mode, 5, "empty_last", include_last_offset=True, trailing=1, padding_idx=padding, dtype=dtype,
                      sparse=True)  # fmt: skip
        yield BagCase(8, 3, mode, 8, "fours", padding_idx=padding, dtype=dtype, values="small", indices="permutation")
        yield BagCase(8, 3, mode, 8, "fours", batch=True, dtype=dtype, values="special", indices="permutation")
    for mode, dtype, (numel, rows) in itertools.product(MODES, FORMATS, ((256, 65), (512, 129), (4096, 257))):
        # More tokens than a narrow format counts; their sum is a small number in any order, so the mean is exact.
        for padding in (None, 1):
            yield BagCase(
                rows, 9, mode, numel, "one", dtype=dtype, values="rare", indices="permutation", padding_idx=padding
            )
            yield BagCase(
                rows,
                3,
                mode,
                numel,
                "one",
                True,
                dtype=dtype,
                values="rare",
                indices="permutation",
                padding_idx=padding,
            )
    for dtype, learns in itertools.product(FORMATS, ("table", "both", "weights")):
        for weights in ("small", "real", "zero", "special"):
            yield BagCase(3, 2, numel=6, bags="unequal", weights=weights, learns=learns, dtype=dtype, padding_idx=0)
            yield BagCase(
                3, 2, numel=6, weights=weights, learns=learns, dtype=dtype, sparse=True, weights_layout="strided"
            )
    taken = itertools.product(BAG_ROUTES, MODES, (False, True), (None, 0))
    for seed, (route, mode, batch, padding) in enumerate(taken):
        # Three of the four formats in turn, since a route comes twelve times.
        yield BagCase(3, 2, mode, 6, "unequal", batch, route=route, weights="small", learns="both", padding_idx=padding,
                      dtype=tuple(FORMATS)[(seed + seed // 12) % 4])  # fmt: skip
    for dtype, learns in itertools.product(FORMATS, ("both", "weights")):
        # Padding alone lies behind the last offset, which no kernel counts.
        yield BagCase(4, 2, numel=5, bags=(2, 3), include_last_offset=True, trailing=2, indices=(0, 1, 2, 3, 0, 1, 1),
                      padding_idx=1, weights="small", learns=learns, dtype=dtype)  # fmt: skip
    for seed, (width, numel, mode, dtype) in enumerate(
        itertools.product((17, 33), (66, 130), MODES[:2], ("float32", "float64", "bfloat16"))
    ):
        # A bag longer than a block of tokens, rows wider than a block of columns, by the kernel that keeps nothing.
        yield BagCase(5, width, mode, numel, "one", indices="unequal", learns="none", dtype=dtype, seed=seed)
        yield BagCase(5, width, mode, numel, "unequal", indices="uniform", learns="none", dtype=dtype, seed=seed)
    for numel, mode, dtype in itertools.product(range(1, 18), MODES, ("float32", "float64")):
        yield BagCase(5, 2, mode, numel, "one", indices="permutation", dtype=dtype)
    for mode, dtype in itertools.product(MODES, FORMATS):
        yield BagCase(5, 33, mode, 12, "pairs", indices="uniform", dtype=dtype)
        yield BagCase(5, 129, mode, 34, "one", True, indices="uniform", dtype=dtype)
    for seed, (mode, batch) in enumerate(itertools.product(MODES, (False, True))):
        # Rows that are reduced in blocks of columns, and more bags than a grid has blocks; each row as often as the others.
        scaled = mode != "max"
        yield BagCase(5, 1031, mode, 6, batch=batch, indices="permutation", dtype=tuple(FORMATS)[seed % 4], seed=seed)
        yield BagCase(5, 1, mode, 1030, "singletons", batch, scale_grad_by_freq=scaled, seed=seed)
    for seed, (rows, numel, scaled) in enumerate(itertools.product((1, 2), (256, 300, 1024), (False, True))):
        # One row more often than a byte can count.
        for mode in ("sum", "mean"):
            yield BagCase(rows, 2, mode, numel, ("fours", "pairs")[seed % 2], indices=("same", "skewed")[rows - 1],
                          scale_grad_by_freq=scaled, dtype=("float32", "float64")[seed // 2 % 2], seed=seed)  # fmt: skip
    for width, dtype, mode in itertools.product((33, 70), FORMATS, MODES):
        # Numbers that fill their format: what is narrowed on the way shows.
        yield BagCase(4, width, mode, 6, "unequal", weights="real" if mode == "sum" else None, learns="both", values="real",
                      upstream="real", dtype=dtype)  # fmt: skip
    for route, mode in itertools.product(("autograd_grad", "backward_call"), ("sum", "mean")):
        yield BagCase(3, 2, mode, 6, "unequal", indices="unequal", sparse=True, route=route)
    for mistake, mode in itertools.product(STRAYS, MODES):
        yield BagCase(3, 2, mode, 4, index_dtype="int32", mistake=mistake, seed=len(mistake))
    for history, mode, batch in itertools.product(BAG_HISTORIES, MODES, (False, True)):
        yield BagCase(3, 2, mode, 6, "unequal", batch, history=history)
    later = itertools.product(BAG_LATER, MODES, (False, True), (None, "small"))
    for seed, (history, mode, batch, weights) in enumerate(later):
        if weights and mode != "sum":
            continue
        yield BagCase(5, 2, mode, 6, ("unequal", "empty_middle")[seed % 2], batch, history=history, weights=weights,
                      learns="both", indices=("uniform", "unequal", "cycle")[seed % 3], sparse=seed % 5 == 1,
                      padding_idx=(None, 0, None)[seed % 3], seed=seed)  # fmt: skip
    for history, mode in itertools.product(BAG_LATER, MODES):
        # What is kept between calls is kept most easily where nothing learns.
        yield BagCase(5, 2, mode, 6, "unequal", history=history, learns="none", indices="uniform")
    # The first and the last row of tall tables, beside either as padding.
    tall = itertools.product((203, 1001, 4099), ("sum", "weighted", "mean", "max"), (None, 0, -1))
    for seed, (rows, mode, padding) in enumerate(tall):
        weights, mode = ("small", "sum") if mode == "weighted" else (None, mode)
        yield BagCase(rows, 3, mode, 9, "unequal", seed % 5 == 1, indices="ends", padding_idx=padding, weights=weights,
                      learns="both", dtype=tuple(FORMATS)[seed % 4 if seed % 2 else 0], seed=seed)  # fmt: skip
    # Few bags of many tokens, and many bags of few, in every format with every kind of weights.
    shapes = ((33, "one"), (17, "long_last"), (260, "pairs"), (131, "singletons"))
    for (numel, bags), mode, dtype, weights in itertools.product(shapes, MODES, FORMATS, (None, "small", "real")):
        if weights and mode != "sum":
            continue
        yield BagCase(
            5, 3, mode, numel, bags, weights=weights, learns="both", dtype=dtype, indices="uniform", values="small"
        )
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
        yield BagCase(5, 1, mode, count, "singletons", seed // 3 % 2 == 1, indices="uniform", values="small", **common)
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
    for (numel, bags), dtype, batch, padding in itertools.product(
        ((300, "one"), (1100, "long_last")), ("bfloat16", "float16"), (False, True), (None, 1)
    ):
        # Sums whose next row is less than the last digit that the format has of them.
        for weights in (None, "small"):
            yield BagCase(3, 3, "sum", numel, bags, batch, indices="skewed", padding_idx=padding, dtype=dtype,
                          values="small", weights=weights)  # fmt: skip
    slices = itertools.product((4, 9, 18), ("int64", "int32"), (False, True), MODES)
    for seed, (numel, index_dtype, cut, mode) in enumerate(slices):
        # Slices of longer rows of tokens, of cuts and of weights.
        weights = ("small", None)[seed // 3 % 2] if mode == "sum" else None
        yield BagCase(7, 2, mode, numel, "pairs", not cut, indices="uniform", index_layout=CROWDED, index_dtype=index_dtype,
                      offset_dtype=index_dtype, offset_layout=CROWDED, weights=weights, seed=seed,
                      weights_layout=CROWDED if weights else "contiguous", upstream_layout=CROWDED)  # fmt: skip


def draw(draws: stream.Stream) -> BagCase | None:
    """A random case: sizes from both sides of the thresholds, most other axes simple."""
    rows, width, numel = draws.choice(ROWS), draws.choice(WIDTHS), draws.choice(TOKENS)
    if not draws.chance(3):
        rows, width, numel = rows % 12 + 1, width % 20 + 1, numel % 40
    while max(rows, numel) * width > _LARGEST:
        width = draws.choice(WIDTHS[:12])
        numel, rows = min(numel, 1025), min(rows, 2001)
    chosen: dict[str, Any] = {}
    for name, values in AXES.items():
        if name not in ("num_embeddings", "embedding_dim", "numel"):
            chosen[name] = draws.choice(values) if draws.chance(2) or name in ("mode", "bags", "indices") else values[0]
    if draws.chance(24):
        chosen["mistake"] = draws.choice(MISTAKES)
    return repair(BagCase(rows, width, numel=numel, seed=draws.between(0, 1 << 20), **chosen))


SPACE = Space(
    BagCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    flags=("mode", "bags", "padding_idx", "scale_grad_by_freq", "sparse", "dtype", "include_last_offset"),
    base={"numel": 6, "indices": "unequal"},
    draw=draw,
    smaller=smaller,
    aim=aimed_bag,
    aims=3.0,
    strength=2,
)
