"""Executes cases in forks of a process that has imported torch but run nothing: ``python -m embcheck.crashes.forks``.

It answers requests, one JSON object a line, as `embcheck.crashes.isolate.Isolation` sends them.
"""

from __future__ import annotations

import base64
import contextlib
import json
import os
import select
import signal
import sys
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch._dynamo  # which optimizers import at their first step: not in every fork

from embcheck.axes import parse
from embcheck.collect import load_families
from embcheck.comparison import Difference
from embcheck.crashes.alone import exit_of, silenced
from embcheck.crashes.slot import case_of
from embcheck.execute import packed, run
from embcheck.fault import load_faults
from embcheck.law import accepts
from embcheck.ledger import load
from embcheck.mode import MODES
from embcheck.reduce import reduce_case
from embcheck.script import script


def symptom(family: Any, mode: Any, cases: list[Any], limit: float) -> str | None:
    """How executing cases in one fork ends: ``crash SIGSEGV``, ``hang``, or None if it comes back."""
    child = os.fork()
    if child == 0:
        status = 3
        with contextlib.suppress(BaseException):
            silenced()
            for case in cases:
                run(family.plan(case), mode)
            status = 0
        os._exit(status)
    how = exit_of(child, limit)
    if how is not None:
        return f"crash {signal.Signals(os.WTERMSIG(how)).name}" if os.WIFSIGNALED(how) else None
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


def sent_by(work: Callable[[], bytes], limit: float) -> tuple[bytes, int]:
    """What a fork sends that does some work, nothing if it dies or takes too long; and how it ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException), os.fdopen(writing, "wb") as pipe:
            pipe.write(work())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        ready, _, _ = select.select([pipe], [], [], limit)
        sent = pipe.read() if ready else b""
    if not ready:
        os.kill(child, signal.SIGKILL)
    return sent, os.waitpid(child, 0)[1]


def outcome(family: Any, mode: Any, case: Any, planted: list[str], limit: float) -> str | None:
    """The outcome of a case that is executed in a fork, packed and in base64; None if the fork gave none."""
    # Registering a fault tries it: only where one is asked for is anything run here.
    faults = [load_faults()[name] for name in planted]

    def work() -> bytes:
        silenced()
        with contextlib.ExitStack() as stack:
            for fault in faults:
                stack.enter_context(fault.plant())
            return packed(run(family.plan(case), mode))

    sent, _ = sent_by(work, limit)
    return base64.b64encode(sent).decode() if sent else None


def ended(family: Any, mode: Any, case: Any, device: str, limit: float) -> dict[str, Any]:
    """How a case ends on a device: the error's name and message, or none, and what was written to its inputs."""

    def work() -> bytes:
        out = run(family.plan(case), mode, device)
        name = type(out.error).__name__ if out.error is not None else ""
        told = {"error": name, "message": str(out.error)[:300], "written": {}}
        with contextlib.suppress(Exception):  # after a device's assertion nothing can be read
            told["written"] = out.written()
        return json.dumps(told).encode()

    sent, status = sent_by(work, limit)
    if sent:
        found: dict[str, Any] = json.loads(sent)
        return found
    how = signal.Signals(status & 127).name if os.WIFSIGNALED(status) else "without an answer"
    return {"error": "SystemError", "message": f"the process ended: {how}", "written": {}}


def _answer(request: dict[str, Any]) -> Any:
    """Answers ``cases`` with the symptom of each, up to the first that hangs.

    Answers ``case`` or ``slot`` with its symptom, the smallest case that shares it, and the script.
    """
    if "ready" in request:
        load_families()
        return None
    family, mode = load_families()[request["family"]], MODES[request["mode"]]
    limit = float(request["limit"])
    if "refusal" in request:
        return ended(family, mode, parse(request["refusal"]), request["device"], limit)
    if "outcome" in request:
        return outcome(family, mode, parse(request["outcome"]), request["planted"], limit)
    if "cases" in request:
        cases = [parse(text) for text in request["cases"]]
        if symptom(family, mode, cases, 2 * limit) is None:
            return [None] * len(cases)
        symptoms: list[str | None] = []
        for dangerous in cases:
            symptoms.append(symptom(family, mode, [dangerous], limit))
            if symptoms[-1] == "hang":
                break  # each further one would cost as long
        return symptoms
    case: Any = parse(request["case"]) if "case" in request else case_of(bytes.fromhex(request["slot"]))
    first = repr(case)
    found, tried = symptom(family, mode, [case], limit), 0
    if found is not None and request["seconds"]:
        ledger = load(Path(request["ledger"]), torch.__version__, date.today())
        excluded = ledger.excludes([law.name for law in family.laws], mode.name, "cpu")

        def alike(smaller: Any) -> bool:
            facts = smaller.facts()
            known = any(entry.covers(facts) for entry in excluded)
            return not known and symptom(family, mode, [smaller], limit) == found

        case, tried = reduce_case(case, family.space, alike, seconds=request["seconds"])
    law = next(law for law in family.laws if law.judge is accepts)
    words = f"no end after {limit:g} s" if found == "hang" else f"the process died: {found}"
    kind = found or "crash"
    program = script(family, mode, law, case, Difference(kind, "error", words, None, words))
    return {
        "symptom": found,
        "first": first,
        "case": repr(case),
        "tried": tried,
        "law": law.name,
        "words": words,
        "script": program,
    }


if __name__ == "__main__":
    torch.set_num_threads(1)
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing but answers on the pipe
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), file=answers, flush=True)
