"""Looks whether a ledger entry's witness still shows the violation, and keeps how it does."""

from dataclasses import replace
from importlib.metadata import version
from typing import Any

from embcheck.core.law import Family, Law, ended
from embcheck.core.ledger import SEEMS_FIXED, Entry, Ledger, LedgerError
from embcheck.core.machine import Machine, conditions, here
from embcheck.core.result import Absent, Difference, Holds, NotApplicable, Result, Violated, told
from embcheck.core.verdict import LEDGER, Counterexample, Statement, Status, Verdict, stale, witness_law
from embcheck.engine.crashes.isolate import examine
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.engine.script import script
from embcheck.known.recorded import scripts
from embcheck.modes.mode import MODES, modes_of
from embcheck.record.store import example_of
from embcheck.subject.collect import load_families

_EMPTY = Ledger()


def statement(entry: Entry) -> Statement:
    """The entry as a record keeps it."""
    releases = f"; torch {entry.torch}" if str(entry.torch) else ""
    machines = f"; machines with {conditions(entry.machine)}" if entry.machine else ""
    return Statement(
        witness_law(entry.name), LEDGER, entry.reason, f"violates {entry.law}{releases}{machines}", entry.link
    )


def look(
    entry: Entry,
    device: str = "cpu",
    *,
    ledger: Ledger = _EMPTY,
    surveyed: bool = False,
    strict: bool = False,
    machine: Machine | None = None,
) -> Verdict:
    """*known* while the witness fails as the entry says, with the case and its script.

    Once it no longer fails the entry is stale, which is *violated*; where releases are ``surveyed`` it *holds* here, and
    unless ``strict`` also where the entry was never measured: it seems fixed on this torch or this machine.

    An entry that the ``ledger`` has for other releases is *violated* if it fails here too, unless one that is in force says so.
    One that speaks of other machines than this one is not applicable, nor is one whose witness needs what came with a later
    release.  It is *unknown* where no law that it concerns judged the witness.
    """
    machine = machine or here(device)
    unmet = machine.unmet(entry.machine)
    others = f"machines with {unmet}" if unmet else ""
    if not entry.runs_on(device):
        others = f"device {entry.device}"
    reason = f"not applicable here: it speaks of {others}" if others else lacking(entry)
    if reason is not None:
        return _verdict(entry, device, Status.NOT_APPLICABLE, reason)
    try:
        found, results = _shown(entry, device, ledger, scripted=surveyed)
    except LedgerError as error:
        return _verdict(entry, device, Status.VIOLATED, str(error))
    in_force = entry not in ledger.elsewhere
    if found is not None:
        if in_force:
            return _verdict(entry, device, Status.KNOWN, found=found)
        words = f"it fails in this release too, which the entry's condition, torch {entry.torch}, leaves out"
        return _verdict(entry, device, Status.VIOLATED, words, found=found)
    if not in_force:
        return _verdict(entry, device, Status.HOLDS)
    if not any(isinstance(result, (Holds, Violated)) for result in results):
        missing = [each.why for each in results if isinstance(each, NotApplicable) and isinstance(each.why, Absent)]
        if missing:
            return _verdict(entry, device, Status.NOT_APPLICABLE, f"not applicable here: {missing[0]}")
        words = next(map(told, results), "no law that the entry concerns judges such a case")
        return _verdict(entry, device, Status.UNKNOWN, f"{entry.case!r} was not judged: {words}")
    if surveyed:
        return _verdict(entry, device, Status.HOLDS, "right in this release, which the entry's condition does not say")
    elsewhere = "" if strict else entry.unmeasured(version("torch"), machine.gpu_capability or machine.cpu_capability)
    if elsewhere:
        return _verdict(entry, device, Status.HOLDS, f"{SEEMS_FIXED}: {entry.case!r} passes; {elsewhere}")
    return _verdict(entry, device, Status.VIOLATED, stale(entry.case))


def lacking(entry: Entry) -> str | None:
    """Why none of the modes that an entry speaks of is here; None if one is."""
    load_families()
    first = None
    for found in MODES.values():
        if entry.runs_in((found.name,)):
            reason = found.lacking()  # which may try a compiler, and takes seconds
            if reason is None:
                return None
            first = first or reason
    return first


def _verdict(entry: Entry, device: str, status: Status, *reasons: str, found: Counterexample | None = None) -> Verdict:
    mode = "eager" if set("*,") & set(entry.mode) else entry.mode
    known, shown = int(status == Status.KNOWN), (found,) if found is not None else ()
    made = Verdict(witness_law(entry.name), LEDGER, "torch", mode, "witness", status, device, 1, known)
    return replace(made, reasons=reasons, counterexamples=shown)


def _shown(entry: Entry, device: str, ledger: Ledger, *, scripted: bool) -> tuple[Counterexample | None, list[Result]]:
    """The witness as a counterexample, or None if it does not fail as the entry says, and what came of the laws that the entry
    concerns; ``scripted`` if the counterexample's script is read.

    Of an entry for other releases it is none if another, which is in force, says that it fails so.
    """
    families = load_families().values()  # first of all: they bring the case types
    case, results = entry.case, list[Result]()
    for family in families:
        names = modes_of(family, "all")
        modes = [name for name in names if entry.runs_in((name,)) and entry.runs_on(device)]
        if type(case) is not family.space.case_type or not modes:
            continue
        try:
            family.plan(case)
        except KeyError:  # others have cases of the same type, and other routes
            continue
        mode = next((name for name in modes if MODES[name].lacking() is None), modes[0])
        laws = [law for law in family.laws if entry.concerns(law.name, mode, device)]
        excluded = ledger.excludes([law.name for law in laws], mode, device)
        if entry in ledger.elsewhere and any(other.covers_case(case) for other in excluded):
            continue  # which takes the process down here, as that one says
        if entry.excluded and laws:
            # Of a witness, which is small, a few seconds say as much as a profile's limit.
            answer = examine(family.name, mode, repr(case), device=device, limit=5.0, seconds=0)
            if answer["symptom"]:
                return _counterexample(family, laws[0], mode, device, case, ended(answer["symptom"]), scripted), results
        # What a process has compiled before may hide what it compiles now: a fresh one has the last word, and the only one
        # of what may end a process later, as anything may on a device of which the entry says nothing.
        ends = entry.excluded or (device != "cpu" and entry.device == "*")
        here_too = () if ends else (Execution(device),)
        for execute in (*here_too, Execution(device, apart=True)):
            evaluated = evaluate(family, MODES[mode], case, laws, execute)
            results += evaluated
            for law, result in zip(laws, evaluated, strict=True):
                for found in result.difference.apart() if isinstance(result, Violated) else ():
                    if entry in ledger.elsewhere and ledger.find(law.name, mode, device, found, case) is not None:
                        continue
                    if entry.excuses(found, case):
                        return _counterexample(family, law, mode, device, case, found, scripted), results
    return None, results


def _counterexample(
    family: Family, law: Law, mode: str, device: str, case: Any, found: Difference, scripted: bool
) -> Counterexample:
    program = script(family, MODES[mode], law, case, found, device) if scripted else ""
    return example_of(law.name, family.name, "torch", mode, device, repr(case), found, script=program)


def script_of(entry: Entry) -> str:
    """The script of an entry: of its witness as the installed torch fails now, else of its cause, else empty."""
    shown, _ = _shown(entry, "cpu", _EMPTY, scripted=True)
    return shown.script if shown is not None else scripts().get(entry.cause, "")
