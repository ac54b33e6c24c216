"""The ledger's regions are not blind: of each entry, a second fault whose difference is another one is still seen there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from functools import partial
from typing import Any

import pytest
import torch

from embcheck.core.law import Family
from embcheck.core.ledger import SHIPPED, Entry, load, read
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families

FAMILIES = load_families()
LEDGER = load(SHIPPED, torch.__version__, date.today())
Program = Callable[[], Mapping[str, Any]]
Fault = Callable[[Program], Mapping[str, Any]]


def violated(family: Family, case: Any, fault: Fault | None = None) -> set[str]:
    """The laws that a case violates outside of the ledger, or leaves unknown, with a fault in what comes out."""
    mode = MODES[family.modes[0]]

    def function(program: Any, **arguments: Any) -> Mapping[str, Any]:
        run = partial(mode.function, program, **arguments)
        return run() if fault is None else fault(run)

    tallies = Tallies(family, replace(mode, function=function), LEDGER)
    tallies(type(case)(*case))
    return {tally.law.name for tally in tallies.each if tally.violations or tally.unknown}


def lost(run: Program) -> Mapping[str, Any]:
    """Nothing comes out."""
    return dict.fromkeys(run())


def replaced(run: Program) -> Mapping[str, Any]:
    """Words come out."""
    return {name: f"a second fault in {name}" for name in run()}


def ended(run: Program) -> Mapping[str, Any]:
    """It ends in an error that torch never raises."""
    raise BufferError("a second fault")


def home(entry: Entry) -> Family | None:
    """The family in whose first mode an entry's witness shows, unless it takes a process of its own."""
    case = entry.case
    for family in FAMILIES.values():
        here = isinstance(case, family.space.case_type) and not family.forks and not family.absent
        if here and any(entry.concerns(law.name, family.modes[0], "cpu") for law in family.laws):
            try:
                family.plan(case)
            except KeyError:
                continue
            return family
    return None


SHOWN = {entry.name: family for entry in LEDGER.entries if not entry.excluded and (family := home(entry)) is not None}


def test_most_entries_are_tried() -> None:
    assert len(SHOWN) > 0.7 * len(LEDGER.entries)
    assert all(entry.kind != "*" for entry in read(SHIPPED))


@pytest.mark.parametrize(
    "entry", [entry for entry in LEDGER.entries if entry.name in SHOWN], ids=lambda entry: entry.name
)
def test_a_second_fault_is_seen_in_a_region(entry: Entry) -> None:
    family, case = SHOWN[entry.name], entry.case
    mine = {law.name for law in family.laws if entry.speaks_of(law.name)}
    assert not violated(family, case)
    seen = set().union(*(violated(family, case, fault) for fault in (lost, replaced, ended)))
    assert seen if entry.name in ONE_BIT else mine & seen, "the laws that it speaks of are blind"


#: Their laws read a single observation that is true or false: what is another difference, other laws see.
ONE_BIT = ("parameter-list-grows-by-what-it-refuses", "parameter-dict-keeps-the-keys-it-refuses")
