"""Looks whether a ledger entry's witness still shows the violation."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import Any

from embcheck.collect import load_families
from embcheck.engine import judge_once
from embcheck.isolate import examine
from embcheck.law import Difference
from embcheck.ledger import Entry, LedgerError
from embcheck.mode import MODES
from embcheck.verdict import Status, Verdict


def look(entry: Entry, device: str = "cpu") -> Verdict:
    """*known* while the witness fails as the entry says, *violated* (stale) when it no longer does."""

    def verdict(status: Status, *reasons: str) -> Verdict:
        name = f"ledger: {entry.name}"
        return Verdict(name, "ledger", "torch", "eager", "witness", status, device, 1, 1, reasons=reasons)

    families = load_families().values()
    try:
        case = entry.case
    except LedgerError as error:
        return verdict(Status.VIOLATED, str(error))
    for family in families:
        modes = [name for name in family.modes if entry.concerns(entry.law, name, device)]
        if type(case) is not family.space.case_type or not modes:
            continue
        laws = [law for law in family.laws if entry.concerns(law.name, modes[0], device)]
        if entry.excluded and laws and examine(family.name, modes[0], repr(case), seconds=0)["symptom"]:
            return verdict(Status.KNOWN)
        for law in laws if not entry.excluded else ():
            found: Any = judge_once(family, MODES[modes[0]], law, case)
            if isinstance(found, Difference) and fnmatchcase(found.kind, entry.kind):
                return verdict(Status.KNOWN)
    return verdict(Status.VIOLATED, f"ledger entry {entry.name} is stale: {case!r} no longer fails; remove the entry")
