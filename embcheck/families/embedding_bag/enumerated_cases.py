"""Bags that are enumerated: every small cut of every small sequence, flags that meet, every width and number of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.layout import LAYOUTS
from embcheck.families.embedding_bag.cases import LATE_STRAYS, OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.families.embedding_bag.invalid_calls import BAG_MISTAKES
from embcheck.families.embedding_bag.offsets import BAGS, WRONG_OFFSETS, cuts
from embcheck.families.embedding_bag.programs import BAG_ENTRIES
from embcheck.families.embedding_bag.repair import repair
from embcheck.families.lookup import cases

MODES = ("sum", "mean", "max")
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
