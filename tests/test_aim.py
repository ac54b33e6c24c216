"""Aimed cases: tokens have the counts that are asked, wishes are met from both sides, and each seed gives the same cases."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from embcheck.core.axes import parse
from embcheck.core.counts import ORDERS, Counts, tokens_of, told
from embcheck.core.facts import conditions
from embcheck.core.item import PROFILES, all_items
from embcheck.core.stream import Stream
from embcheck.core.targets import Unmet, Wish
from embcheck.engine import selection
from embcheck.families.lookup.aimed import WIDTHS
from embcheck.subject.collect import load_families

FAMILIES = ("gradient", "embedding_bag", "max_norm", "one_hot", "lookup")


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(("numel", "rows", "most", "padding"), [(64, 40, 20, 3), (769, 300, 21, 17), (5, 3, 3, 1)])
def test_tokens_have_the_counts_that_are_asked(order: str, numel: int, rows: int, most: int, padding: int) -> None:
    for seed in range(12):
        found = told(Counts(most, padding, order).tokens(numel, rows, 1, seed), rows, 1)
        assert (found["numel"], found["max_count"], found["padding_count"]) == (numel, most, padding)
        assert found["interleaved"] is (order == "mixed")


@pytest.mark.parametrize("equal", [0, 1])
def test_counts_are_equal_if_that_is_asked(equal: int) -> None:
    found = [told(Counts(equal=1).tokens(12, 7, None, seed), 7, None)["unequal_counts"] for seed in range(9)]
    assert not any(found)
    assert told(Counts(most=5).tokens(12, 7, None, 0), 7, None)["unequal_counts"]


def test_ends_order_and_copies_are_as_asked() -> None:
    for first, last in itertools.product((0, 1), repeat=2):
        found = told(Counts(first=first, last=last).tokens(9, 5, None, 2), 5, None)
        assert (found["first_row"], found["last_row"]) == (bool(first), bool(last))
    falling = Counts(1, order="descending").tokens(9, 20, None, 5)
    assert falling.tolist() == sorted({*falling.tolist()}, reverse=True)
    copies = Counts(2, copies=3).tokens(18, 9, None, 4).reshape(3, 6)
    assert (copies == copies[0]).all()
    assert np.bincount(copies[0]).max() == 2


@pytest.mark.parametrize("numel", range(8))
@pytest.mark.parametrize("rows", [1, 2, 3])
def test_tokens_lie_in_the_table_whatever_is_asked(numel: int, rows: int) -> None:
    """A counterexample is made smaller without a look at what its pattern asks."""
    for seed, order in enumerate(ORDERS):
        for counts in (Counts(20, 3, order), Counts(1, 0, order, 1, 1, 1), Counts(2, -1, order, 0, 0, 0, 2)):
            tokens = counts.tokens(numel, rows, rows - 1, seed)
            assert tokens.shape == (numel,)
            assert ((tokens >= 0) & (tokens < rows)).all()


def test_a_name_says_its_counts() -> None:
    for counts in (Counts(), Counts(20, 16, "runs"), Counts(equal=1, first=0, last=1, copies=2)):
        assert Counts.of(counts.name) == counts
        assert (tokens_of(counts.name, 8, 5, 0, 3) == counts.tokens(8, 5, 0, 3)).all()
    assert Counts.of("cycle") is None
    for wrong in ("counts most=2 mode=sum", "counts order=up"):
        with pytest.raises(ValueError, match="no pattern"):
            Counts.of(wrong)


def wished(text: str, seed: int = 0) -> Wish:
    return Wish(Stream(seed), conditions(text))


def test_numbers_come_from_both_sides_of_a_threshold() -> None:
    found = {wished("numel>64", seed).number("numel", (3, 65, 1000)) for seed in range(40)}
    assert min(found) == 65
    assert max(found) > 999
    found = {wished("numel<=64", seed).number("numel", (1, 200)) for seed in range(40)}
    assert {63, 64} <= found
    assert max(found) == 64
    assert {wished("numel=7", seed).number("numel", (3,)) for seed in range(9)} == {7}


def test_what_can_not_be_is_refused() -> None:
    with pytest.raises(Unmet):
        wished("numel=7").number("numel", (3,), least=9)
    with pytest.raises(Unmet):
        wished("dtype=int8").choice("dtype", ("float32", "float64"))
    with pytest.raises(Unmet):
        Wish(Stream(0)).number("numel", (3,), least=9, most=8)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_seed_gives_the_same_aimed_cases_in_any_parts(name: str) -> None:
    family, profile = load_families()[name], replace(PROFILES["quick"], aimed=24)

    def cases(part: int, parts: int, seed: int = 0) -> list[Any]:
        first = all_items(family, profile)[0]._replace(engine="random", part=part, parts=parts)
        return list(selection.aimed(family, first, profile, seed))

    whole = cases(0, 1)
    assert len(whole) > 9
    assert sorted(map(repr, cases(0, 2) + cases(1, 2))) == sorted(map(repr, whole))
    assert whole != cases(0, 1, seed=1)
    assert [parse(repr(case)) for case in whole] == whole
    assert [family.space.repair(case) for case in whole] == whole


def test_aimed_cases_cross_thresholds_together() -> None:
    """What no axis says: exact counts of tokens and of padding beside sizes."""
    family, profile = load_families()["gradient"], PROFILES["gate"]
    first = next(item for item in all_items(family, profile) if item.engine == "random")
    facts = [case.facts() for case in selection.aimed(family, first, profile, 0)]
    pairs = {(each["max_count"], each["embedding_dim"]) for each in facts}
    wanted = {(count, width) for count in (2, 3, 10, 11, 20, 21) for width in WIDTHS}
    assert len(pairs & wanted) > len(wanted) / 2
    assert {each["history"] for each in facts} > {"once_alike", "twice_longer", "thrice_alike"}
