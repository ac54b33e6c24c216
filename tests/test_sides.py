"""What is said of a violation beside its difference: other modes on the same case, and the nearest known violation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from packaging.specifiers import SpecifierSet

from embcheck.core.case import LookupCase
from embcheck.core.item import Item
from embcheck.core.ledger import Entry, Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding
from embcheck.engine.run_item import counterexample
from embcheck.engine.tally import Tallies
from embcheck.engine.violation_context import elsewhere, nearest
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

LOOKUP = load_families()["lookup"]
CASE = LookupCase(3, 2, (0, 2, 1, 2), (4,))
COPIES = next(law for law in LOOKUP.laws if law.name == "lookup_copies_rows")
FOUND = Difference("value", "out", 1.0, 2.0, "1, expected 2")


def wrong_in(*modes: str) -> Any:
    """A law that some modes break."""

    def judge(case: LookupCase, out: Outcome) -> Finding:
        return FOUND if out.mode in modes else HOLDS

    return replace(COPIES, judge=judge, implied_by="")


def tallies_of(mode: str, **more: Any) -> Tallies:
    return Tallies(LOOKUP, MODES[mode], more.pop("ledger", Ledger()), **more)


@pytest.mark.parametrize(
    ("mode", "wrong", "told"),
    [
        ("eager", ("eager",), {"no_grad": "holds", "inference": "holds"}),
        ("no_grad", ("no_grad", "eager"), {"eager": "violated", "inference": "holds"}),
        ("inference", ("eager", "no_grad", "inference"), {"eager": "violated", "no_grad": "violated"}),
    ],
)
def test_other_modes_are_asked_on_the_same_case(mode: str, wrong: tuple[str, ...], told: dict[str, str]) -> None:
    assert elsewhere(tallies_of(mode), wrong_in(*wrong), CASE) == told


def test_a_program_that_raises_elsewhere_says_so() -> None:
    def execute(family: Any, mode: Any, case: Any) -> Outcome:
        return Outcome({}, lambda value: value, mode=mode.name, makes_graph=True, error=ValueError("no"))

    told = elsewhere(tallies_of("eager", execute=execute), wrong_in("eager"), CASE)
    assert told == dict.fromkeys(("no_grad", "inference"), "raised ValueError: no")


def test_what_may_take_the_process_down_is_asked_nowhere_else() -> None:
    assert elsewhere(tallies_of("eager", probe=lambda cases: [None] * len(cases)), wrong_in("eager"), CASE) == {}


def test_a_counterexample_carries_both() -> None:
    entry = Entry(COPIES.name, {"rank": 0}, "LookupCase(1, 1)", "a reason", "known-one")
    tallies = tallies_of("eager", ledger=Ledger((entry,)))
    law = wrong_in("eager")
    example = counterexample(tallies, law, CASE, FOUND, Item("lookup", "torch", "eager", "scope"), [])
    assert example.elsewhere == {"no_grad": "holds", "inference": "holds"}
    assert example.resembles == "known-one, which speaks of rank = 0"
    plain = counterexample(tallies, law, CASE, FOUND, Item("lookup", "torch", "eager", "scope"), [], reduce=False)
    assert plain.elsewhere == {}


def entry(name: str, **more: Any) -> Entry:
    fields = {"law": COPIES.name, "where": {}, "witness": "", "reason": "", "name": name}
    return Entry(**{**fields, **more})


@pytest.mark.parametrize(
    ("entries", "told"),
    [
        ([], ""),
        ([entry("other", law="another_law")], ""),
        ([entry("far", where={"rank": 0, "dtype": "float64"}), entry("near", where={"rank": 0, "dtype": "float32"})],
         "near, which speaks of rank = 0"),
        ([entry("mode", mode="vmap")], "mode, which speaks of mode vmap"),
        ([entry("device", device="cuda*")], "device, which speaks of device cuda*"),
        ([entry("kind", kind="bits: NaN")], "kind, which speaks of a difference of kind bits: NaN"),
    ],
)  # fmt: skip
def test_the_nearest_entry_is_that_which_misses_by_the_least(entries: list[Entry], told: str) -> None:
    assert nearest(Ledger(tuple(entries)), COPIES.name, "eager", "cpu", FOUND, CASE) == told


def test_entries_of_other_releases_and_machines_are_near_too() -> None:
    old, there = entry("old", torch=SpecifierSet("<2.0")), entry("there", machine={"onednn_kernel": "*amx*"})
    near = nearest(Ledger(elsewhere=(old,)), COPIES.name, "eager", "cpu", FOUND, CASE)
    assert near == "old, which speaks of torch <2.0"
    near = nearest(Ledger(some_machines=(there,)), COPIES.name, "eager", "cpu", FOUND, CASE)
    assert near == "there, which speaks of machines with onednn_kernel *amx*"
