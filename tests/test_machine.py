"""The state machine of lives: a rule for each operation, the same histories for the same seed, and reductions."""

from __future__ import annotations

from typing import Any

import embcheck.families.tie_preservation.space as family
from embcheck.families.tie_preservation import state_machine
from embcheck.families.tie_preservation.all_operations import OPERATIONS
from embcheck.families.tie_preservation.cases import TiePreservationCase


def drawn(seed: int) -> list[Any]:
    found: list[Any] = []
    state_machine.histories(family.newborn, found.append, 8, seed)
    return found


def test_every_operation_is_a_rule() -> None:
    named = [name for name in vars(state_machine.rules()) if name.startswith("rule_")]
    assert len(named) == len(OPERATIONS) > 25


def test_a_seed_names_its_histories() -> None:
    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert max(len(case.history) for case in first) >= state_machine.STEPS


def test_a_history_gets_shorter_from_any_place() -> None:
    case = TiePreservationCase(prior="frozen", first="deepcopied", second="retied", later=("as_double", "pickled"))
    shorter = [found.history for found in family.shorter(case)]
    assert all(len(history) < len(case.history) for history in shorter)
    assert {history for history in shorter if len(history) == 4} == {
        (*case.history[:at], *case.history[at + 1 :]) for at in range(5)
    }
