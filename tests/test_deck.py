"""The decks of *quick* and *gate*: what is kept is of today's families, and what is chosen is what adds most for its cost."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from embcheck.core import deck
from embcheck.core.deck import Choice
from embcheck.core.item import PROFILES, items_of
from embcheck.engine import selection
from embcheck.engine.obligations import obliging_cases
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families, load_modes
from selfcheck.deck import Matrix, choose, takes_part
from selfcheck.pool import Measured

FAMILIES = load_families()


@pytest.mark.parametrize("name", FAMILIES)
def test_each_family_has_a_choice_of_its_axes_as_they_are(name: str) -> None:
    """If not, `python -m selfcheck.deck NAME` makes one."""
    family = FAMILIES[name]
    for mode in family.modes:
        quick, gate = (deck.chosen(family, mode, tier) for tier in ("quick", "gate"))
        assert quick is not None, f"run `python -m selfcheck.deck {name}`"
        assert gate is not None
        for part in ("small", "product", "rows", "aimed"):
            assert set(getattr(quick, part)) <= set(getattr(gate, part))
        assert len(list(gate.small_cases(family.space))) == len(gate.small)
        assert all(len(deck.positions(row)) == len(family.space.axes) for row in gate.rows)


def judged(name: str, profile: str, engine: str, seed: int) -> list[Any]:
    family = FAMILIES[name]
    return [
        case
        for item in items_of(family, engine, PROFILES[profile])
        for case in selection.cases(family, item, PROFILES[profile], seed)
    ]


def test_a_seed_decides_values_alone() -> None:
    small = [judged("lookup", "gate", "scope", seed) for seed in (0, 1)]
    assert small[0] == small[1]
    rows = [judged("lookup", "gate", "product", seed) for seed in (0, 1)]
    assert rows[0] != rows[1]
    assert [case.but(seed=0) for case in rows[0]] == [case.but(seed=0) for case in rows[1]]


@pytest.mark.parametrize("profile", ["quick", "gate"])
def test_what_is_obliged_is_run_once(profile: str) -> None:
    for name in ("padding", "embedding_bag", "tied_training"):
        cases = judged(name, profile, "scope", 0)
        assert all(case in cases for case in obliging_cases(FAMILIES[name]).values())
    small = judged("padding", profile, "scope", 0)
    assert len(small) == len(set(small))


def test_a_family_with_other_axes_is_sampled_by_strides() -> None:
    family = FAMILIES["padding"]
    space = replace(family.space, axes={**family.space.axes, "seed": (0, 1)})
    other = replace(family, space=space, laws=list(family.laws))
    FAMILIES["padding"] = family  # which replace() registered anew
    assert deck.chosen(other, "eager", "gate") is None
    item = items_of(other, "product", PROFILES["gate"])[0]
    assert len(list(selection.cases(other, item, PROFILES["gate"], 0))) > 100


def test_rows_are_read_as_they_were_written() -> None:
    row = [0, 3, 70, 200]
    assert deck.positions(deck.written(row)) == row


def test_what_adds_most_for_its_cost_is_chosen_until_the_budget_is_spent() -> None:
    found = Matrix()
    for position, faults in enumerate((["a"], ["a", "b", "c"], ["a", "b"], ["d"])):
        for fault in faults:
            found.add(("family", position), fault, (1.0,))
    measured = {"family": Measured([0.0015, 0.010, 0.002, 0.005, 0.001])}
    taken: set[tuple[str, int]] = set()
    spent = choose(found, measured, ["family"], 0.007, taken)
    # Of 2 first, which has a and b at half a millisecond each; then 0 adds nothing, and 3 adds d.
    assert taken == {("family", 2), ("family", 3)}
    assert spent == pytest.approx(0.007)
    assert choose(found, measured, ["family"], 1.0, taken) == pytest.approx(0.017)
    assert taken == {("family", 2), ("family", 3), ("family", 1)}


def test_half_of_the_faults_take_part() -> None:
    share = sum(takes_part(f"fault {k}") for k in range(1000)) / 1000
    assert 0.4 < share < 0.6


def test_aimed_cases_are_what_was_written() -> None:
    for name in ("gradient", "embedding_bag", "max_norm", "one_hot", "lookup", "conversion"):
        family = FAMILIES[name]
        choice = deck.chosen(family, family.modes[0], "gate")
        assert choice is not None
        cases = list(Choice(aimed=choice.aimed).product_cases(family.space, name, 0))
        assert len(cases) == len(choice.aimed) == len({*cases}) > 0
        assert [
            deck.case_of(family.space.case_type, written) for written in choice.aimed
        ] == cases  # which fit as they are
        assert all(deck.case_of(type(case), deck.written_case(case)) == case for case in cases)


def test_gate_has_a_slice_of_the_cases_in_modes_that_compile() -> None:
    load_modes()
    gate = PROFILES["gate"]
    calling = [family for family in FAMILIES.values() if family.call]
    assert len(calling) >= 5
    for family in calling:
        items = [item for item in items_of(family, "product", gate) if item.mode in gate.sliced]
        assert [item.mode for item in items] == list(gate.sliced)
        chosen = {case for engine in ("scope", "product") for case in judged(family.name, "gate", engine, 0)}
        for item in items:
            assert family.call in MODES[item.mode].calls
            cases = list(selection.cases(family, item, gate, 0))
            assert 0 < len(cases) < 3 * len(chosen) / item.parts
            assert chosen.issuperset(cases)


def test_what_is_aimed_stays_where_a_family_is_chosen_anew(tmp_path: Path) -> None:
    file = tmp_path / "deck.json"
    deck.keep({"gradient": {"eager": {"quick": Choice(), "gate": Choice(rows=("01",))}}}, FAMILIES, file)
    kept, before = (json.loads(path.read_text()) for path in (file, deck.KEPT))
    for tier in ("quick", "gate"):
        aimed = before["gradient"]["modes"]["eager"][tier]["aimed"]
        assert aimed
        assert kept["gradient"]["modes"]["eager"][tier]["aimed"] == aimed
    assert kept["gradient"]["modes"]["eager"]["gate"]["rows"] == ["01"]
    assert kept["lookup"] == before["lookup"]
