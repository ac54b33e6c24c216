"""Makes verdicts of crashed workers, and runs counterexamples' scripts to see that they fail alone."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from embcheck.crashes.isolate import examine
from embcheck.crashes.slot import Running
from embcheck.records.store import failure_id
from embcheck.verdict import Counterexample, Status, Verdict

#: Seconds for the reduction of a crash.
_REDUCTION = 20.0
#: Scripts that are run at the end of a run, and the seconds that each may take.
_CONFIRMED, _SECONDS = 24, 60.0


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
    """The counterexamples, the first two dozen with the note whether their script fails when run alone."""
    checked = list(examples)
    chosen = [k for k, example in enumerate(examples[:_CONFIRMED]) if example.script]
    with tempfile.TemporaryDirectory() as folder:
        scripts = [Path(folder) / f"{k}.py" for k in chosen]
        for k, path in zip(chosen, scripts, strict=True):
            path.write_text(examples[k].script)
        for k, code in zip(chosen, _exit_statuses(scripts), strict=True):
            checked[k] = replace(examples[k], script_confirmed=None if code is None else code == 1)
    return checked


def _exit_statuses(scripts: list[Path]) -> list[int | None]:
    """How scripts end that are run by themselves; None for one that can't run, or has no end."""
    if not scripts:
        return []
    command = [sys.executable, str(Path(__file__).with_name("alone.py")), str(_SECONDS), *map(str, scripts)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    try:
        found: list[int | None] = json.loads(done.stdout)
    except json.JSONDecodeError:  # it died before any script was run
        found = [None] * len(scripts)
    return found
