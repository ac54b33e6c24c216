"""What tests make of a run: a verdict, a record in a folder, a session, and what is printed; and machines."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from rich.console import Console

from embcheck.core.machine import Machine
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.record.record import Writer
from embcheck.runner import session
from embcheck.runner.run import Settings
from embcheck.runner.session import Session
from selfcheck.fault import patched

EXAMPLE = Counterexample(
    "law", "family", "torch", "eager", "cpu", "LookupCase()", "value", "wrong", script="print(1)\n", id="c7f3a1"
)

#: Machines that were recorded, by name.
MACHINES = {
    name: Machine.of(told) for name, told in json.loads(Path(__file__).with_name("machines.json").read_text()).items()
}


def verdict(status: Status = Status.HOLDS, *examples: Counterexample, **more: Any) -> Verdict:
    """A verdict of eager mode on torch."""
    fields = {"law": "law", "family": "family", "subject": "torch", "mode": "eager", "engine": "scope"}
    return Verdict(**{**fields, "status": status, "counterexamples": examples, **more})


VIOLATED = verdict(Status.VIOLATED, EXAMPLE)


def written(folder: Path, *verdicts: Verdict, stopped: str = "finished", code: int = 0, **more: Any) -> Path:
    """The record in a folder, of a run that ended with a code; of one that was cut off if nothing ``stopped`` it.

    ``header`` has fields of the header; what else there is are fields of the footer.
    """
    writer = Writer(folder / "record.ndjson")
    writer.header(**more.pop("header", {}))
    for each in verdicts:
        writer.verdict(each)
    if stopped:
        writer.footer(stopped, code, **more)
    writer.close()
    return writer.path


def session_of(**settings: Any) -> Session:
    """A session with some settings, which has collected nothing yet."""
    config: Any = SimpleNamespace(option=SimpleNamespace(collectonly=False, numprocesses=2))
    return Session(config, Settings(**settings))


def ended(made: Session, code: int = 0, confirmed: Any = list) -> Session:
    """The session after its end, which pytest came to with an exit code.

    What tries the scripts of violations is ``confirmed``, by default nothing; without a report's folder no failure is kept.
    """
    unkept = {} if made.settings.report else {"keep": lambda *given, **more: None}
    with patched(session, confirmed=confirmed, **unkept):
        made.pytest_sessionfinish(SimpleNamespace(exitstatus=code), code)  # type: ignore[arg-type]
    return made


def printed_by(show: Callable[[Console], object], width: int = 140) -> str:
    """What is shown in a console that is no terminal."""
    out = io.StringIO()
    show(Console(file=out, width=width, soft_wrap=True, highlight=False))
    return out.getvalue()
