"""One condition language: what it says, what it refuses, and that every condition there is speaks of facts that exist."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from embcheck.core.facts import UnknownFact, conditions, holds, named, require
from embcheck.core.ledger import SHIPPED, check, read
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families


@pytest.mark.parametrize(
    ("condition", "facts", "expected"),
    [
        ("sparse", {"sparse": True}, True), ("sparse", {"sparse": False}, False), ("numel", {"numel": 0}, False),
        ("numel>3", {"numel": 3}, False), ("numel>3", {"numel": 4}, True), ("numel > 3", {"numel": 4}, True),
        ("rank>=3", {"rank": 3}, True), ("rank>=3", {"rank": 2}, False), ("numel>3", {"numel": 20}, True),
        ("dtype=float16", {"dtype": "float16"}, True), ("dtype=float16", {"dtype": "bfloat16"}, False),
        ("out_of_range=-1", {"out_of_range": "-1"}, True),
        ("out_of_range=-1", {"out_of_range": None}, False), ("numel=3", {"numel": 3}, True),
        ("sparse=True", {"sparse": True}, True), ("sparse=False", {"sparse": True}, False),
        ("sparse=False", {"sparse": False}, True), ("padding_idx=0", {"padding_idx": 0}, True),
        ("padding_idx=None", {"padding_idx": None}, True), ("padding_idx=None", {"padding_idx": 0}, False),
        ("padding_idx>0", {"padding_idx": None}, False), ("max_norm=0.5", {"max_norm": 0.5}, True),
        ("max_norm>0", {"max_norm": 0.5}, True),
        ("numel<3", {"numel": 3}, False), ("numel<=3", {"numel": 3}, True), ("max_norm<1", {"max_norm": 0.5}, True),
        ("numel>2 & numel<=4", {"numel": 4}, True), ("numel>2 & numel<=4", {"numel": 5}, False),
        ("norm_type=inf", {"norm_type": float("inf")}, True),
        ("sparse & numel>3", {"sparse": True, "numel": 4}, True), ("sparse&numel>3", {"sparse": True, "numel": 3}, False),
    ],
)  # fmt: skip
def test_holds(condition: str, facts: dict[str, Any], expected: bool) -> None:
    assert holds(condition, facts) is expected


@pytest.mark.parametrize("text", ["", "3", "numel>", "numel>many", "numel!3", "numel>=", "=3", "sparse &", "a b"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(UnknownFact, match="is no condition; expected name, name=value, name>number"):
        conditions(text)
    with pytest.raises(KeyError, match="colour"):
        holds("colour=red", {"numel": 1})


def test_an_unknown_fact_is_told_with_what_is_close_to_it() -> None:
    known = load_families()["lookup"].space.facts
    require(named(["padding_hit & numel>64", "dtype=float16"]), known, "here")
    with pytest.raises(UnknownFact, match=r"^here: no fact 'paddinghit'; did you mean padding_hit") as caught:
        require(named(["numel>64 & paddinghit"]), known, "here")
    assert "\n" not in str(caught.value)
    with pytest.raises(UnknownFact, match=r"^here: no fact 'colour'; there are all_padding, dtype, "):
        require(["colour"], known, "here")


@pytest.mark.parametrize("name", load_families())
def test_a_space_knows_its_facts_without_running_a_case(name: str) -> None:
    space = load_families()[name].space
    assert {frozenset(case.facts()) for case in itertools.islice(space.cover(1, seed=0), 20)} == {space.facts}


def test_a_law_that_obliges_what_no_case_has_is_refused_when_it_is_registered() -> None:
    family = load_families()["lookup"]
    before = list(family.laws)
    for wrong in ("numl>64", "padding_hit & numl>64"):
        with pytest.raises(UnknownFact, match=r"^law silent: no fact 'numl'; did you mean numel"):

            @family.law("Nothing.", must_cover={"sparse", wrong})
            def silent(case: Any, out: Any) -> Any:
                raise AssertionError

    assert family.laws == before


def test_every_mode_speaks_of_facts_that_a_family_of_its_calls_has() -> None:
    for mode in MODES.values():
        taken = (family for family in load_families().values() if not mode.calls or family.call in mode.calls)
        require(named(mode.cannot), frozenset().union(*(family.space.facts for family in taken)), mode.name)


def test_the_shipped_ledger_speaks_of_laws_and_facts_that_there_are() -> None:
    check(read(SHIPPED), {law.name for family in load_families().values() for law in family.laws})
