"""What is said of a violation beside its difference: how the law stands in other modes on the same case, and which known
violation is nearest."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from embcheck.core.declaration import subject_of
from embcheck.core.law import Law
from embcheck.core.ledger import Entry, Ledger
from embcheck.core.machine import conditions
from embcheck.core.result import Difference, Holds, Raised, Violated
from embcheck.core.verdict import Status
from embcheck.engine.tally import Tallies
from embcheck.modes.mode import MODES

#: An entry that misses a difference by more than so many conditions speaks of something else.
_NEAR = 2


def elsewhere(tallies: Tallies, law: Law, case: Any) -> dict[str, str]:
    """How a law stands on a case in eager and in the family's other own modes: it holds, is violated, or the program raised.

    Nothing is told where the case may take the process down.
    """
    if tallies.probe is not None:
        return {}
    told = {}
    for name in dict.fromkeys(("eager", *tallies.family.modes)):
        if name == tallies.mode.name or MODES[name].unasked(law) is not None or MODES[name].lacking() is not None:
            continue
        match tallies.evaluate([law], case, MODES[name])[0]:
            case Holds():
                told[name] = Status.HOLDS.word
            case Violated():
                told[name] = Status.VIOLATED.word
            case Raised(error):
                told[name] = f"raised {error}"
    return told


def nearest(ledger: Ledger, law: str, mode: str, device: str, found: Difference, case: Any) -> str:
    """The ledger's entry of the same law and sort of case that misses a difference by the least: its name and what it speaks
    of instead, in words; empty if there is none.

    One that is in force here comes first, and may miss two conditions; of another only the release or the machine may differ.  Of
    a layer of the user's no bug of torch's is the nearest: such an entry has a cause, and those of the user's ledger have none.
    """
    told, facts, subject = [], case.facts(), subject_of(case)
    for entry in (*ledger.entries, *ledger.some_machines, *ledger.elsewhere):
        own = entry.subject == subject or not (entry.subject or entry.cause)
        if own and entry.speaks_of(law) and entry.where.keys() <= facts.keys():
            apart = list(_apart(ledger, entry, mode, device, found, case, facts))
            of_others = entry not in ledger.entries
            if len(apart) <= (1 if of_others else _NEAR):
                told.append((of_others, len(apart), entry.name, apart))
    if not told:
        return ""
    *_, name, apart = min(told)
    return f"{name}, which speaks of {', '.join(apart)}" if apart else name


def _apart(
    ledger: Ledger, entry: Entry, mode: str, device: str, found: Difference, case: Any, facts: Mapping[str, Any]
) -> Iterator[str]:
    """Each condition of an entry that the difference does not meet."""
    for name, wanted in entry.where.items():
        if not replace(entry, where={name: wanted}).covers(facts):
            yield f"{name} = {wanted!r}"
    if not entry.runs_in((mode,)):
        yield f"mode {entry.mode}"
    if not entry.runs_on(device):
        yield f"device {entry.device}"
    if not replace(entry, instead="").excuses(found, case):
        yield f"a difference of kind {entry.kind}"
    elif not entry.excuses(found, case):
        said = entry.instead if isinstance(entry.instead, str) else "; ".join(map(": ".join, entry.instead.items()))
        yield f"another result ({said})"
    if entry in ledger.elsewhere:
        yield f"torch {entry.torch}"
    if entry in ledger.some_machines:
        yield f"machines with {conditions(entry.machine)}"
