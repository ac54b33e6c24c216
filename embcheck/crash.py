"""Makes verdicts of crashed workers, and runs counterexamples' scripts to see that they fail alone."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from embcheck.isolate import Running, case_of, examine
from embcheck.replay import failure_id
from embcheck.verdict import Counterexample, Status, Verdict

#: Scripts that are run at the end of a run, and the seconds that each may take.
_CONFIRMED, _SECONDS = 12, 60.0


def verdict_of_crash(running: Running, device: str) -> Verdict:
    """The verdict about a case that took its worker down: its symptom, and the smallest case with it."""
    from embcheck.collect import load_families

    load_families()
    family, subject, mode, engine, _ = running.label.split("/")
    case = repr(case_of(running.case))
    answer = examine(family, mode, case)
    kind = answer["symptom"] or "crash in company"
    words = answer["words"] if answer["symptom"] else "the worker died here; alone the case comes back"
    example = Counterexample(
        law=answer["law"],
        family=family,
        subject=subject,
        mode=mode,
        device=device,
        case=answer["case"],
        kind=kind,
        words=words,
        first=case if case != answer["case"] else "",
        path="error",
        got=words,
        script=answer["script"],
        id=failure_id(answer["law"], subject, mode, device, answer["case"]),
    )
    return Verdict(
        answer["law"], family, subject, mode, engine, Status.VIOLATED, device, 1, counterexamples=(example,)
    )


def confirmed(examples: list[Counterexample]) -> list[Counterexample]:
    """The counterexamples, the first dozen with the note whether their script fails when run alone."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(2) as pool:
        scripts = [Path(folder) / f"{number}.py" for number in range(min(len(examples), _CONFIRMED))]
        for path, example in zip(scripts, examples, strict=False):
            path.write_text(example.script)
        codes = list(pool.map(_exit_status, scripts))
    checked = [
        replace(example, script_confirmed=code == 1) for example, code in zip(examples, codes, strict=False)
    ]
    return checked + examples[len(checked) :]


def _exit_status(path: Path) -> int | None:
    if not path.read_text():
        return None
    try:
        return subprocess.run([sys.executable, str(path)], capture_output=True, timeout=_SECONDS, check=False).returncode
    except subprocess.TimeoutExpired:
        return None
