"""Runs a recorded failure again and says what became of it: FAILED, FIXED or ERROR.

FAILED: the law is violated, by the same kind of difference or by another, which is named.  FIXED: the law was judged and
holds, on the device of the record and on a machine that proves the same level; another torch is named.  Everything else is
an ERROR, which says what happened: the program raised, the law does not apply, the oracle failed, or it holds on a machine
that proves another level, where it need not have failed.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, NamedTuple

from embcheck.axes import parse
from embcheck.collect import load_families
from embcheck.crashes.isolate import NoAnswer, examine
from embcheck.evaluate import evaluate
from embcheck.execution import Execution
from embcheck.law import Family, Law
from embcheck.machine import Machine, here
from embcheck.mode import MODES, Mode
from embcheck.result import Holds, Result, Violated, told
from embcheck.run import Settings, UsageError

FAILED, FIXED, ERROR = "FAILED", "FIXED", "ERROR"


class Replayed(NamedTuple):
    """What became of a failure, and why or how, in words."""

    state: str
    words: str = ""


def replay(record: Mapping[str, Any]) -> Replayed:
    """Evaluates a recorded failure's law on its case again."""
    try:
        Settings(device=record["device"]).checked()
        family, mode, law, case = _found(record)
    except UsageError as error:
        return Replayed(ERROR, str(error))
    except (KeyError, ValueError, StopIteration) as error:
        return Replayed(ERROR, f"this version of embcheck has no {error}")
    reason = family.absent or mode.lacking()
    if reason:
        return Replayed(ERROR, f"it can't be run here: {reason}")
    if record["device"] == "cpu":
        # In a child first: what took a worker down must not take this process down.
        try:
            symptom = examine(family.name, mode.name, repr(case), seconds=0)["symptom"]
        except NoAnswer as error:
            return Replayed(ERROR, str(error))
        if symptom:
            return Replayed(FAILED, _of_kind(record, symptom, symptom))
    return state_of(record, evaluate(family, mode, case, [law], Execution(record["device"]))[0])


def state_of(record: Mapping[str, Any], result: Result) -> Replayed:
    """What a result means for a recorded failure."""
    match result:
        case Violated(difference):
            alike = (each for each in difference.apart() if each.kind == record["kind"])
            found = next(alike, difference)
            return Replayed(FAILED, _of_kind(record, found.kind, found.words))
        case Holds():
            return _fixed(record)
    return Replayed(ERROR, told(result))


def _fixed(record: Mapping[str, Any]) -> Replayed:
    """FIXED, if the law holds where it failed."""
    if "machine" not in record:
        return Replayed(ERROR, "the law holds here, but the record does not say on which machine it failed")
    then, now = Machine.of(record["machine"]), here(record["device"])
    torch = version("torch")
    same_torch = record.get("torch") == torch
    reason = _other_level(then, now, same_torch)
    if reason:
        return Replayed(ERROR, f"the law holds here, but it failed on another machine: {reason}")
    return Replayed(FIXED, "" if same_torch else f"by torch {torch}; it failed with {record.get('torch', 'another')}")


def _other_level(then: Machine, now: Machine, same_torch: bool) -> str:
    """What tells two machines' levels apart, in words; empty if nothing does.

    The same torch chooses the same kernels; of another one, whose kernels have other names, the instruction sets and the
    variables that cap them must be the same.
    """
    names = ("arch", "cpu_capability", "gpu", *(("onednn_kernel",) if same_torch else ("isa", "caps")))
    apart = [name for name in names if getattr(then, name) != getattr(now, name)]
    return ", ".join(f"{name} {getattr(then, name) or 'none'}, here {getattr(now, name) or 'none'}" for name in apart)


def _of_kind(record: Mapping[str, Any], kind: str, words: str) -> str:
    """The words of a violation, which say so if it is of another kind than the recorded one."""
    return words if kind == record["kind"] else f"now by another difference, {kind} instead of {record['kind']}: {words}"


def _found(record: Mapping[str, Any]) -> tuple[Family, Mode, Law, Any]:
    """What a record names.

    Raises:
        KeyError, ValueError, StopIteration: if there is none of it; the message names what is missing.
    """
    families = load_families()
    family = families[record["family"]]
    law = next((law for law in family.laws if law.name == record["law"]), None)
    if law is None:
        raise KeyError(record["law"])
    return family, MODES[record["mode"]], law, parse(record["case"])
