"""Random histories of operations on a tied model, and their reductions."""

from __future__ import annotations

import embcheck.families.tie_preservation.space as family
from embcheck.core.stream import Stream
from embcheck.families.tie_preservation.all_operations import OPERATIONS
from embcheck.families.tie_preservation.cases import TiePreservationCase


def test_long_histories_have_every_operation() -> None:
    drawn = [family.draw(Stream(seed)) for seed in range(600)]
    long = [case for case in drawn if case.watched and len(case.history) > 4]
    assert max(len(case.history) for case in long) == family.STEPS
    assert {name for case in long for name in case.history} == set(OPERATIONS) - {"nothing"}


def test_a_history_gets_shorter_from_any_place() -> None:
    case = TiePreservationCase(prior="frozen", first="deepcopied", second="retied", later=("as_double", "pickled"))
    shorter = [found.history for found in family.shorter(case)]
    assert all(len(history) < len(case.history) for history in shorter)
    assert {history for history in shorter if len(history) == 4} == {
        (*case.history[:at], *case.history[at + 1 :]) for at in range(5)
    }
