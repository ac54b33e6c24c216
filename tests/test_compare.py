"""Two runs side by side: what broke, what was fixed, and what a baseline excuses."""

from __future__ import annotations

import pytest

from embcheck.records.compare import Move, compare, differences_of_setup, excused
from embcheck.records.record import Record
from embcheck.verdict import Counterexample, Status, Verdict

NA, HOLDS, KNOWN, UNKNOWN, VIOLATED = Status


def verdict(status: Status, *kinds: str, law: str = "law", mode: str = "eager", worst: float | None = None) -> Verdict:
    examples = tuple(Counterexample(law, "f", "torch", mode, "cpu", "Case()", kind, "wrong") for kind in kinds)
    return Verdict(law, "f", "torch", mode, "all", status, worst=worst, counterexamples=examples)


@pytest.mark.parametrize(
    ("before", "after", "move", "words"),
    [
        (HOLDS, VIOLATED, Move.BROKEN, "holds → violated"),
        (KNOWN, VIOLATED, Move.BROKEN, "known → violated"),
        (HOLDS, UNKNOWN, Move.UNDECIDED, "holds → unknown"),
        (HOLDS, KNOWN, Move.KNOWN, "holds → known"),
        (VIOLATED, HOLDS, Move.FIXED, "violated → holds"),
        (KNOWN, HOLDS, Move.FIXED, "known → holds"),
        (VIOLATED, KNOWN, Move.EASED, "violated → known"),
        (UNKNOWN, HOLDS, Move.DECIDED, "unknown → holds"),
        (None, HOLDS, Move.NEW, "not there → holds"),
        (None, VIOLATED, Move.BROKEN, "not there → violated"),
        (NA, UNKNOWN, Move.UNDECIDED, "not there → unknown"),
        (HOLDS, None, Move.GONE, "holds → not there"),
        (VIOLATED, NA, Move.GONE, "violated → not there"),
    ],
)
def test_every_move_has_a_name(before: Status | None, after: Status | None, move: Move, words: str) -> None:
    (change,) = compare([verdict(before)] if before is not None else [], [verdict(after)] if after is not None else [])
    assert (change.move, change.words) == (move, words)


def test_what_stays_is_no_change() -> None:
    for status in Status:
        assert compare([verdict(status)], [verdict(status)]) == []


def test_a_further_kind_of_difference_is_a_further_break() -> None:
    one, two = verdict(VIOLATED, "a"), verdict(VIOLATED, "a", "b")
    (worse,), (better,) = compare([one], [two]), compare([two], [one])
    assert (worse.move, worse.kinds, better.move) == (Move.BROKEN, ("b",), Move.EASED)


def test_modes_are_compared_each_by_itself_and_the_worst_comes_first() -> None:
    before = [verdict(HOLDS), verdict(HOLDS, mode="vmap"), verdict(HOLDS, worst=0.25, law="near")]
    after = [verdict(HOLDS), verdict(VIOLATED, mode="vmap"), verdict(HOLDS, worst=0.75, law="near")]
    first, second = compare(before, after)
    assert (first.mode, first.move) == ("vmap", Move.BROKEN)
    assert (second.law, second.words) == ("near", "0.25 → 0.75")


def test_a_baseline_excuses_what_it_shows_and_nothing_else() -> None:
    old = [verdict(VIOLATED, "a"), verdict(UNKNOWN, law="dark"), verdict(KNOWN, law="told")]
    assert excused(old, [verdict(VIOLATED, "a")]) == {verdict(VIOLATED).key}
    assert excused(old, [verdict(UNKNOWN, law="dark")]) == {verdict(UNKNOWN, law="dark").key}
    assert excused(old, [verdict(UNKNOWN)]) == {verdict(UNKNOWN).key}, "less than it was"
    for new in (
        verdict(VIOLATED, "a", "b"),
        verdict(VIOLATED, "a", mode="vmap"),
        verdict(VIOLATED, "a", law="dark"),
        verdict(VIOLATED, "a", law="told"),
        verdict(HOLDS),
    ):
        assert not excused(old, [new])


def test_what_differs_beside_the_verdicts_is_told() -> None:
    a = Record({"settings": {"seed": "0"}, "versions": {"torch": "2.9.1"}, "python": "3.11", "source": "x"})
    b = Record({"settings": {"seed": "1"}, "versions": {"torch": "2.13.0"}, "python": "3.11", "source": "x"})
    assert differences_of_setup(a, b) == ["seed 0 → 1", "torch 2.9.1 → 2.13.0"]
    assert differences_of_setup(a, a) == []
