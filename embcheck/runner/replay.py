"""Runs a recorded failure again and says what became of it: FAILED, FIXED or ERROR.

FAILED: the law is violated, by the same kind of difference or by another, which is named.  FIXED: the law was judged and
holds, or what differs is known to the ledger of the run that kept the failure, on the device of the record and on a machine
that proves the same level; another torch is named.  Everything else is an ERROR, which says what happened: the program raised
or died, the law does not apply, the oracle failed, or it holds on a machine that proves another level, where it need not have
failed.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from importlib.metadata import version
from typing import Any

from embcheck.core.axes import parse
from embcheck.core.declaration import SubjectError
from embcheck.core.law import Family, Law
from embcheck.core.ledger import SHIPPED, Entry, Ledger, LedgerError, load_all
from embcheck.core.machine import here
from embcheck.core.replay_state import ERROR, Replayed, failed, fixed
from embcheck.core.result import Holds, Result, Violated, told
from embcheck.engine.crashes.isolate import NoAnswer, examine
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.modes.mode import Mode
from embcheck.runner.run import Settings, UsageError
from embcheck.subject.collect import load_families, mode_named


def replay(record: Mapping[str, Any]) -> Replayed:
    try:
        device = Settings(device=record["device"]).checked().device
        family, mode, law, case = _found(record)
    except UsageError as error:
        return Replayed(ERROR, str(error))
    except SubjectError as error:
        return Replayed(ERROR, f"{error}; replay it where that can be imported")
    except (KeyError, StopIteration) as error:
        return Replayed(ERROR, f"this version of embcheck has no {error}")
    except ValueError as error:
        return Replayed(ERROR, f"this version of embcheck can't read the case: {error}")
    reason = family.absent or mode.lacking()
    if reason:
        return Replayed(ERROR, f"it can't be run here: {reason}")
    # In a child first: what took a worker down must not take this process down.
    try:
        symptom = examine(family.name, mode.name, repr(case), device=device, seconds=0)["symptom"]
    except NoAnswer as error:
        return Replayed(ERROR, str(error))
    if symptom and law is family.law_of_crashes(case):
        return failed(record, symptom, symptom)
    if symptom:
        return Replayed(ERROR, f"the program ends its process: {symptom}; this law has nothing to look at")
    result = evaluate(family, mode, case, [law], Execution(device))[0]
    if not isinstance(result, Violated):
        return state_of(record, result)
    try:
        known = ledger_of(record).excuses(law.name, mode.name, device, result.difference, case)
    except LedgerError as error:
        return Replayed(ERROR, str(error))
    return state_of(record, result, [entry for _, entry in known])


def ledger_of(record: Mapping[str, Any]) -> Ledger:
    """The ledger by which the run judged that kept a failure, as it is now, on this machine.

    Raises:
        LedgerError: for a file that can't be used any more.
    """
    paths = [path or SHIPPED for path in record.get("ledgers", [""])]
    return load_all(paths, version("torch"), date.today()).on(here(record["device"]))


def state_of(record: Mapping[str, Any], result: Result, known: Sequence[Entry | None] = ()) -> Replayed:
    """What a result means for a recorded failure; ``known`` are the entries that excuse its differences."""
    match result:
        case Violated() if known and all(known):
            names = ", ".join(dict.fromkeys(entry.name for entry in known if entry))
            now = fixed(record, here(record["device"]))
            return now._replace(words="; ".join(filter(None, [now.words, f"what is still wrong is known: {names}"])))
        case Violated(difference):
            alike = (each for each in difference.apart() if each.kind == record["kind"])
            found = next(alike, difference)
            return failed(record, found.kind, found.words)
        case Holds():
            return fixed(record, here(record["device"]))
    return Replayed(ERROR, told(result))


def _found(record: Mapping[str, Any]) -> tuple[Family, Mode, Law, Any]:
    """What a record names."""
    families = load_families()
    family = families[record["family"]]
    law = next((law for law in family.laws if law.name == record["law"]), None)
    if law is None:
        raise KeyError(record["law"])
    return family, mode_named(record["mode"]), law, parse(record["case"])
