"""Makes verdicts of crashed workers, and runs counterexamples' scripts to see that they fail alone."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from embcheck.core.law import ended
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.engine.crashes.alone import BROKEN, SHOWS
from embcheck.engine.crashes.isolate import examine
from embcheck.engine.crashes.slot import Running, case_of
from embcheck.record.store import example_of

#: Seconds for the reduction of a crash.
_REDUCTION = 20.0
#: Scripts that are run at the end of a run, and the seconds of CPU time that each may take.
_CONFIRMED, _SECONDS = 24, 60.0
#: Why nothing is known of how a script ends alone.
_NOT_RUN = f"not run: a run tries {_CONFIRMED} scripts"
_OTHERWISE = {
    None: f"run alone it has no end within {_SECONDS:g} s of CPU time",
    BROKEN: "run alone it dies, or raises what it does not expect",
}


def verdict_of_crash(
    running: Running,
    device: str,
    limit: float,
    known: Mapping[tuple[str, str], Counterexample],
    ledgers: Sequence[Path],
) -> Verdict:
    """The verdict about a case that took its worker down, or used ``limit`` seconds of CPU time there.

    It is *violated*, with the smallest case of the same symptom, if the case alone, which is executed and not judged,
    ends its process too; else *unknown*.  Reduction is spent once for each family and symptom; ``known`` has those that
    were reduced before.
    """
    family, subject, mode, engine, _ = running.label.split("/")
    unknown = Verdict(f"{family}_is_accepted", family, subject, mode, engine, Status.UNKNOWN, device, cases=1)
    seconds = 0.0 if any(name == family for name, _ in known) else _REDUCTION
    try:
        answer = examine(family, mode, running.case, device=device, limit=limit, seconds=seconds, ledgers=ledgers)
    except RuntimeError as error:
        told = f"the worker died, and what it died of can't be told alone ({error}): {case_of(running.case)!r}"
        return replace(unknown, reasons=(told,))
    kind, law = answer["symptom"], answer["law"]
    if kind is None:
        told = f"the worker that judged a case died, or came to no end; alone that comes back: {answer['first']}"
        return replace(unknown, law=law, reasons=(told,))
    held = known.get((family, kind))
    if held is not None:
        example = replace(held, mode=mode)
    else:
        first, case, words, program = (answer[name] for name in ("first", "case", "words", "script"))
        more = {"first": first if first != case else "", "script": program, "got": words, "expected": ""}
        example = example_of(law, family, subject, mode, device, case, ended(kind, words), **more)
    return replace(unknown, law=law, status=Status.VIOLATED, counterexamples=(example,))


def confirmed(examples: list[Counterexample]) -> list[Counterexample]:
    """The counterexamples, the first two dozen with the note whether their script shows the same difference when run alone:
    true if it exits 1, false for 0; of any other, and of those that were not run, is noted why nothing is known."""
    checked = [replace(example, unconfirmed=_NOT_RUN if example.script else "") for example in examples]
    chosen = [k for k, example in enumerate(examples[:_CONFIRMED]) if example.script]
    statuses = exit_statuses([examples[k].script for k in chosen])
    for k, code in zip(chosen, statuses, strict=True):
        why = "" if code in SHOWS else _OTHERWISE.get(code, f"run alone it exits {code}")
        checked[k] = replace(examples[k], script_confirmed=SHOWS.get(code), unconfirmed=why)
    return checked


def exit_statuses(
    scripts: Sequence[str],
    seconds: float = _SECONDS,
    python: str = sys.executable,
    environment: Mapping[str, str] | None = None,
    modules: Sequence[str] = (),
) -> list[int | None]:
    """How scripts end that are run by themselves; `BROKEN` for one that can't run, None for one that has no end in so many seconds
    of CPU time.

    ``python`` is the interpreter, which imports torch and ``modules`` once, and ``environment`` its variables, by default these
    here.
    """
    if not scripts:
        return []
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{k}.py" for k in range(len(scripts))]
        for path, text in zip(paths, scripts, strict=True):
            path.write_text(text, encoding="utf-8")
        command = [python, str(Path(__file__).with_name("alone.py")), str(seconds), *modules]
        lines = "".join(f"{path}\n" for path in paths)
        done = subprocess.run(command, input=lines, capture_output=True, text=True, check=False, env=environment)
    found: list[int | None] = [json.loads(line) for line in done.stdout.splitlines()]
    return found + [BROKEN] * (len(scripts) - len(found))  # it died before the rest
