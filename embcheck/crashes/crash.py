"""Makes verdicts of crashed workers, and runs counterexamples' scripts to see that they fail alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from embcheck.crashes.isolate import examine
from embcheck.crashes.slot import Running
from embcheck.records.store import failure_id
from embcheck.verdict import Counterexample, Status, Verdict

#: Seconds for the reduction of a crash.
_REDUCTION = 20.0
#: Scripts that are run at the end of a run, and the seconds that each may take.
_CONFIRMED, _SECONDS = 12, 60.0


def verdict_of_crash(
    running: Running, device: str, known: Mapping[tuple[str, str], Counterexample], ledger: Path
) -> Verdict:
    """The verdict about a case that took its worker down: its symptom, and the smallest case with it.

    Reduction is spent once for each family and symptom; ``known`` has those that were reduced before.
    """
    family, subject, mode, engine, _ = running.label.split("/")
    seconds = 0.0 if any(name == family for name, _ in known) else _REDUCTION
    answer = examine(family, mode, running.case, seconds=seconds, ledger=ledger)
    kind = answer["symptom"] or "crash in company"
    held = known.get((family, kind))
    if held is not None:
        example = replace(held, mode=mode)
    else:
        first, case = answer["first"], answer["case"]
        words = answer["words"] if answer["symptom"] else "the worker died here; alone the case comes back"
        example = Counterexample(
            law=answer["law"],
            family=family,
            subject=subject,
            mode=mode,
            device=device,
            case=case,
            kind=kind,
            words=words,
            first=first if first != case else "",
            path="error",
            got=words,
            script=answer["script"],
            id=failure_id(answer["law"], subject, mode, device, case),
        )
    return Verdict(example.law, family, subject, mode, engine, Status.VIOLATED, device, 1, counterexamples=(example,))


def confirmed(examples: list[Counterexample]) -> list[Counterexample]:
    """The counterexamples, the first dozen with the note whether their script fails when run alone."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        scripts = [Path(folder) / f"{number}.py" for number in range(min(len(examples), _CONFIRMED))]
        for path, example in zip(scripts, examples, strict=False):
            path.write_text(example.script)
        codes = list(pool.map(_exit_status, scripts))
    checked = [
        replace(example, script_confirmed=None if code is None else code == 1)
        for example, code in zip(examples, codes, strict=False)
    ]
    return checked + examples[len(checked) :]


def _exit_status(path: Path) -> int | None:
    if not path.read_text():
        return None
    try:
        done = subprocess.run([sys.executable, str(path)], capture_output=True, timeout=_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return None
    # A script that can't run ends in a traceback, with the same status as one that shows the failure.
    broken = any(words in done.stderr for words in (b"Traceback (most recent call last)", b"SyntaxError: "))
    return None if broken else done.returncode
