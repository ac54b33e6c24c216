"""Bags that are enumerated: every small cut of every small sequence, flags that meet, every width and number of tokens."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
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
    routes = ("value", "backward_call")
    unbagged = (
        case
        for none in varied(
            BagCase(3, 2, numel=0, bags=()), mode=MODES, include_last_offset=(False, True), trailing=(1, 2)
        )
        for case in varied(none, padding_idx=(None, 1), dtype=FORMATS, route=routes)
    )
    found = itertools.chain(small_cases(), spelled, size_cases(), weighted_cases(), refused_cases(), unbagged)
    return (case for case in map(repair, found) if case)
