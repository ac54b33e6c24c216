"""The state machine of lives: a rule for each operation, the same histories for the same seed, and reductions."""

from __future__ import annotations

from typing import Any

import embcheck.life.space as family
from embcheck.life import machine
from embcheck.life.case import LifeCase
from embcheck.life.repertoire import OPERATIONS


def drawn(seed: int) -> list[Any]:
    found: list[Any] = []
    machine.histories(family.newborn, found.append, 8, seed, False)
    return found


def test_every_operation_is_a_rule() -> None:
    named = [name for name in vars(machine.rules()) if name.startswith("rule_")]
    assert len(named) == len(OPERATIONS) > 25


def test_a_seed_names_its_histories() -> None:
    first = drawn(1)
    assert first == drawn(1) != drawn(2)
    assert max(len(case.history) for case in first) >= machine.STEPS


def test_a_history_gets_shorter_from_any_place() -> None:
    case = LifeCase(prior="frozen", first="deepcopied", second="retied", later=("as_double", "pickled"))
    shorter = [found.history for found in family.shorter(case)]
    assert all(len(history) < len(case.history) for history in shorter)
    assert {history for history in shorter if len(history) == 4} == {
        (*case.history[:at], *case.history[at + 1 :]) for at in range(5)
    }
