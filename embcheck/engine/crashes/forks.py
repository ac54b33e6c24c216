"""Executes cases in forks of a process that has imported torch but run nothing: ``python -m embcheck.engine.crashes.forks``.

It answers requests, one JSON object a line, as `embcheck.engine.crashes.isolate` sends them.
"""

import base64
import contextlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterable
from datetime import date
from pkgutil import resolve_name
from typing import Any, TextIO

import torch
import torch._dynamo  # which optimizers import at their first step: not in every fork

from embcheck.core.axes import parse
from embcheck.core.law import ended
from embcheck.core.ledger import load_all
from embcheck.core.processes import end_with_parent
from embcheck.engine.crashes.alone import silenced
from embcheck.engine.crashes.patience import Patience, symptom_of
from embcheck.engine.crashes.slot import case_of
from embcheck.engine.execute import lost, packed, run
from embcheck.engine.execution import obstacle
from embcheck.engine.reduce import reduce_case
from embcheck.engine.script import script
from embcheck.subject.collect import load_families, mode_named


def symptom(family: Any, mode: Any, cases: list[Any], device: str, limit: float) -> str | None:
    """How executing cases on a device in one fork ends: ``crash SIGSEGV``, ``hang``, or None if it comes back."""

    def work() -> bytes:
        silenced()
        for case in cases:
            if device != "cpu" and (family.refused(case) or obstacle(family, case)):
                continue  # which are not executed by a process that goes on
            if lost(run(family.plan(case), mode, device)):
                os.abort()
        return b""

    return sent_by(work, limit)[1] or None


def sent_by(work: Callable[[], bytes], limit: float) -> tuple[bytes, str]:
    """What a fork sends that does some work, and how it ended: ``crash SIGSEGV``, ``hang``, or empty."""
    with tempfile.TemporaryFile() as sent:
        child = os.fork()
        if child == 0:
            end_with_parent()
            with contextlib.suppress(BaseException):
                sent.write(work())
                sent.flush()
            os._exit(0)
        symptom = symptom_of(child, Patience(child, limit))
        sent.seek(0)
        return b"" if symptom else sent.read(), symptom


def outcome(
    family: Any, mode: Any, case: Any, device: str, setup: list[tuple[str, str]], limit: float
) -> dict[str, str]:
    """The outcome of a case that is executed in a fork, packed and in base64, or how the fork ended.

    ``setup`` are pairs of a function's place and its argument, which give the contexts that the fork enters first.
    """
    # What they import is imported here, once, and not in each fork.
    contexts = [resolve_name(place)(argument) for place, argument in setup]

    def work() -> bytes:
        silenced()
        with contextlib.ExitStack() as stack:
            for context in contexts:
                stack.enter_context(context)
            out = run(family.plan(case), mode, device)
            if lost(out):
                os.abort()
            return packed(out)

    sent, symptom = sent_by(work, limit)
    return {"sent": base64.b64encode(sent).decode()} if sent else {"symptom": symptom}


def ended_on(family: Any, mode: Any, case: Any, device: str, limit: float) -> dict[str, Any]:
    """How a case ends on a device: the error's name and message, or none, and what was written to its inputs."""

    def work() -> bytes:
        out = run(family.plan(case), mode, device)
        name = type(out.error).__name__ if out.error is not None else ""
        told = {"error": name, "message": str(out.error)[:300], "written": {}}
        with contextlib.suppress(Exception):  # after a device's assertion nothing can be read
            told["written"] = out.written()
        return json.dumps(told).encode()

    sent, symptom = sent_by(work, limit)
    if sent:
        found: dict[str, Any] = json.loads(sent)
        return found
    how = symptom or "without an answer"
    return {"error": "SystemError", "message": f"the process ended: {how}", "written": {}}


def _answer(request: dict[str, Any]) -> Any:
    """Answers ``cases`` with the symptom of each, up to the first that hangs.

    Answers ``case`` or ``slot`` with its symptom, the smallest case that shares it, and the script.
    """
    if "ready" in request:
        load_families()
        return None
    family, mode = load_families()[request["family"]], mode_named(request["mode"])
    limit = float(request["limit"])
    device = request.get("device", "cpu")
    if "refusal" in request:
        return ended_on(family, mode, parse(request["refusal"]), device, limit)
    if "outcome" in request:
        return outcome(family, mode, parse(request["outcome"]), device, request["setup"], limit)
    if "cases" in request:
        cases = [parse(text) for text in request["cases"]]
        if symptom(family, mode, cases, device, 2 * limit) is None:
            return [None] * len(cases)
        symptoms: list[str | None] = []
        for dangerous in cases:
            symptoms.append(symptom(family, mode, [dangerous], device, limit))
            if symptoms[-1] == "hang":
                break  # each further one would cost as long
        return symptoms
    case: Any = parse(request["case"]) if "case" in request else case_of(bytes.fromhex(request["slot"]))
    first = repr(case)
    found = symptom(family, mode, [case], device, limit)
    if found is not None and request["seconds"]:
        ledger = load_all(request["ledgers"], torch.__version__, date.today())
        excluded = ledger.excludes([law.name for law in family.laws], mode.name, device)

        def alike(smaller: Any) -> bool:
            known = any(entry.covers_case(smaller) for entry in excluded)
            return not known and symptom(family, mode, [smaller], device, limit) == found

        case, _ = reduce_case(case, family.space, alike, seconds=request["seconds"])
    law = family.law_of_crashes(case)
    difference = ended(found or "crash", f"no end within {limit:g} s of CPU time" if found == "hang" else "")
    told = {"symptom": found, "first": first, "case": repr(case), "law": law.name, "words": difference.words}
    return told | {"script": script(family, mode, law, case, difference, device)}


def answer_all(requests: Iterable[str], answers: TextIO) -> None:
    """Answers requests, a line each, until there are none."""
    torch.set_num_threads(1)
    sys.stdout = sys.stderr  # nothing but answers on the pipe
    for line in requests:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    end_with_parent()
    answer_all(sys.stdin, sys.stdout)
