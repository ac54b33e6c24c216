"""The laws run in one release: a cell, which is kept once it is finished.

A cell is a folder with the record and the failures.  Its name says the release, the selection, the machine, and
embcheck's own code: what has all of these in common is the same experiment, and is not run twice.  It is kept if its
record is complete: the run came to its end, and every item that was selected gave its verdicts.
"""

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from embcheck.core.machine import seen
from embcheck.core.processes import end_with_parent
from embcheck.record.grid import Run
from embcheck.record.record import Record, RecordError, read
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    profile: str = "gate"
    seed: int = 0
    keyword: str = ""
    modes: str = ""
    ledger: str = ""
    shard: str = ""

    def facts(self) -> tuple[str, ...]:
        """What tells it apart from another selection."""
        ledger = Path(self.ledger).read_text(encoding="utf-8") if self.ledger else ""
        return tuple(str(value) for value in (asdict(self) | {"ledger": ledger}).values())

    def command(self, python: Path, folder: Path, workers: str) -> list[str]:
        """The command that runs it: with the witnesses of all ledger entries, whichever release they speak of."""
        chosen = [("-k", self.keyword), ("--mode", self.modes), ("--ledger", self.ledger), ("--shard", self.shard)]
        return [
            *(str(python), "-m", "embcheck.cli.main", "run", "--profile", self.profile, "--seed", str(self.seed)),
            *("--report", str(folder), "-n", workers),
            *(word for option, value in chosen if value for word in (option, value)),
            *("--", "--embcheck-witnesses=all"),
        ]


@dataclass(frozen=True)
class Cell(Run):
    """A release, named by its torch or, without one, as it was asked for; ``store`` is the folder that keeps it."""

    environment: Environment | None = None
    kept: bool = False


def machine() -> tuple[str, ...]:
    """What tells this machine's answers from another's: the CPU, what it can do, and the variables that limit it."""
    found = seen()
    return (found.arch, found.cpu, *found.isa, *found.caps)


def key(environment: Environment, selection: Selection, source: str) -> str:
    """A cell's folder: the release, and a fingerprint of everything that its record depends on."""
    facts = (environment.torch, environment.build, source, *selection.facts(), machine())
    return f"{environment.torch}-{hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()}"


def run_cell(cache: Cache, release: Release, selection: Selection, source: Path, workers: str, say: Say) -> Cell:
    """The cell of a release: as it was kept, or run now.

    Raises:
        KeyboardInterrupt: if the user interrupts; what is finished by then stays.
    """
    try:
        say(f"{release.asked}: looking for its environment")
        environment = cache.environment(release)
    except ReleaseError as error:
        return Cell(release.asked, problem=str(error))
    folder = cache.cells / key(environment, selection, source.name)
    record = read_folder(folder)
    if record is not None and record.complete:
        return Cell(environment.torch, record, store=folder, environment=environment, kept=True)
    shutil.rmtree(folder, ignore_errors=True)
    running, started = folder.with_name(f"{folder.name}.{os.getpid()}"), time.monotonic()
    shutil.rmtree(running, ignore_errors=True)
    running.mkdir(parents=True)
    try:
        code, told = _run(selection.command(environment.python, running, workers), running, environment, source, say)
        record = read_folder(running)
        if problem := _problem(code, record, told):
            shown = record if record and record.verdicts else None
            return Cell(environment.torch, shown, problem, environment=environment)
        try:
            running.rename(folder)
        except OSError:
            # The same cell was finished meanwhile, by a task whose node was thought dead: it has the same cases.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(running, ignore_errors=True)
    say(f"{environment.torch}: finished in {time.monotonic() - started:.0f} s")
    return Cell(environment.torch, record, store=folder, environment=environment)


def _run(command: list[str], folder: Path, environment: Environment, source: Path, say: Say) -> tuple[int, list[str]]:
    """How a run ended in a folder, and what it said."""
    told: list[str] = []
    child = subprocess.Popen(
        command, cwd=folder, env=environment.variables(source), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, preexec_fn=partial(end_with_parent, signal.SIGTERM),
    )  # fmt: skip
    try:
        for line in child.stdout or ():
            told.append(line.rstrip())
            if " items, " in line:
                say(f"{environment.torch}: {line.strip()}")
        return child.wait(), told
    except KeyboardInterrupt:  # which the run has got as well
        try:
            child.wait(timeout=10)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            child.kill()
            child.wait()
        raise


def read_folder(folder: Path) -> Record | None:
    """The record in a folder; None if there is none that can be read."""
    try:
        return read(folder / "record.ndjson")
    except (RecordError, OSError):
        return None


def _problem(code: int, record: Record | None, told: list[str]) -> str:
    """Why a run gave no cell, from how it ended and what it said; empty if it gave one."""
    if code == 5 and (record is None or not record.verdicts):
        return "nothing was selected"
    if code in (0, 1, 5) and record is not None and not record.cut:
        return record.shortfall
    said = [line.removeprefix("embcheck: ") for line in told if line.startswith("embcheck: ")]
    words = "; ".join(line for line in said[:3] if "nothing was selected" not in line) or " ".join(told[-3:])
    return f"the laws can't be run: {words[:600]}"


def write_line(text: str) -> None:
    """Progress goes to the standard error: what is asked for goes to the standard output."""
    print(text, file=sys.stderr, flush=True)
