"""Runs a recorded failure again and says what became of it: FAILED, FIXED or ERROR.

FAILED: the law is violated, by the same kind of difference or by another, which is named.  FIXED: the law was judged and
holds, on the device of the record and on a machine that proves the same level; another torch is named.  Everything else is
an ERROR, which says what happened: the program raised or died, the law does not apply, the oracle failed, or it holds on a
machine that proves another level, where it need not have failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from embcheck.core.axes import parse
from embcheck.core.declaration import SubjectError
from embcheck.core.law import Family, Law, accepts
from embcheck.core.machine import here
from embcheck.core.replay_state import ERROR, Replayed, failed, fixed
from embcheck.core.result import Holds, Result, Violated, told
from embcheck.engine.crashes.isolate import NoAnswer, examine
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.modes.mode import MODES, Mode
from embcheck.runner.run import Settings, UsageError
from embcheck.subject.collect import load_families


def replay(record: Mapping[str, Any]) -> Replayed:
    try:
        device = Settings(device=record["device"]).checked().device
        family, mode, law, case = _found(record)
    except UsageError as error:
        return Replayed(ERROR, str(error))
    except SubjectError as error:
        return Replayed(ERROR, f"{error}; replay it where that can be imported")
    except (KeyError, ValueError, StopIteration) as error:
        return Replayed(ERROR, f"this version of embcheck has no {error}")
    reason = family.absent or mode.lacking()
    if reason:
        return Replayed(ERROR, f"it can't be run here: {reason}")
    # In a child first: what took a worker down must not take this process down.
    try:
        symptom = examine(family.name, mode.name, repr(case), device=device, seconds=0)["symptom"]
    except NoAnswer as error:
        return Replayed(ERROR, str(error))
    if symptom and law.judge is accepts:
        return failed(record, symptom, symptom)
    if symptom:
        return Replayed(ERROR, f"the program ends its process: {symptom}; this law has nothing to look at")
    return state_of(record, evaluate(family, mode, case, [law], Execution(device))[0])


def state_of(record: Mapping[str, Any], result: Result) -> Replayed:
    """What a result means for a recorded failure."""
    match result:
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
    return family, MODES[record["mode"]], law, parse(record["case"])
