"""The laws run in one release: a cell, which is kept once it is finished.

A cell is a folder with the record and the failures.  Its name says the release, the selection, and embcheck's own
code: what has all of these in common is the same experiment, and is not run twice.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from embcheck.records.record import Record, RecordError, read
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError

#: Loaded before any fork, after which nothing may be imported.
_C, _SET_PARENT_DEATH_SIGNAL = ctypes.CDLL(None) if sys.platform.startswith("linux") else None, 1

Say = Callable[[str], None]


@dataclass(frozen=True)
class Selection:
    """What is run in each release."""

    profile: str = "gate"
    seed: int = 0
    keyword: str = ""
    modes: str = ""
    ledger: str = ""
    shard: str = ""

    def facts(self) -> tuple[str, ...]:
        """What tells it apart from another selection."""
        ledger = Path(self.ledger).read_text(encoding="utf-8") if self.ledger else ""
        told = asdict(self) | {"ledger": ledger}
        return tuple(str(value) for name, value in told.items() if name != "shard" or value)

    def command(self, python: Path, folder: Path, workers: str) -> list[str]:
        """The command that runs it: with the witnesses of all ledger entries, whichever release they speak of."""
        chosen = [("-k", self.keyword), ("--mode", self.modes), ("--ledger", self.ledger), ("--shard", self.shard)]
        return [
            *(str(python), "-m", "embcheck.cli", "run", "--profile", self.profile, "--seed", str(self.seed)),
            *("--report", str(folder), "-n", workers),
            *(word for option, value in chosen if value for word in (option, value)),
            *("--", "--embcheck-witnesses=all"),
        ]


@dataclass(frozen=True)
class Cell:
    """A release with its record, or with the problem that kept it from having one."""

    asked: str
    torch: str = ""
    record: Record | None = None
    problem: str = ""
    environment: Environment | None = None
    folder: Path | None = None
    kept: bool = False

    @property
    def name(self) -> str:
        """As a grid's column is headed."""
        return self.torch or self.asked


def key(environment: Environment, selection: Selection, source: str) -> str:
    """A cell's folder: the release, and a fingerprint of everything that its record depends on."""
    facts = (environment.torch, environment.build, source, *selection.facts())
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
    if folder.is_dir():
        record = read(folder / "record.ndjson")
        return Cell(release.asked, environment.torch, record, environment=environment, folder=folder, kept=True)
    running = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(running, ignore_errors=True)
    running.mkdir(parents=True)
    try:
        return _run(environment, release, selection, source, workers, say, running, folder)
    finally:
        shutil.rmtree(running, ignore_errors=True)


def _run(
    environment: Environment,
    release: Release,
    selection: Selection,
    source: Path,
    workers: str,
    say: Say,
    running: Path,
    folder: Path,
) -> Cell:
    started = time.monotonic()
    told: list[str] = []
    child = subprocess.Popen(
        selection.command(environment.python, running, workers),
        cwd=running,
        env=environment.variables(source),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=None if _C is None else _die_with_parent,
    )
    try:
        assert child.stdout is not None
        for line in child.stdout:
            told.append(line.rstrip())
            if " items, " in line:
                say(f"{environment.torch}: {line.strip()}")
        code = child.wait()
    except KeyboardInterrupt:
        _end(child)
        raise
    try:
        record = read(running / "record.ndjson")
    except (RecordError, OSError):
        record = None
    if code not in (0, 1) or record is None or not record.complete:
        said = [line for line in told if line.startswith("embcheck: ") and "nothing was selected" not in line]
        words = "; ".join(line.removeprefix("embcheck: ") for line in said[:3]) or " ".join(told[-3:])
        problem = f"the laws can't be run: {words[:600]}" if code != 5 else "nothing was selected"
        return Cell(
            release.asked, environment.torch, record if record and record.verdicts else None, problem, environment
        )
    try:
        running.rename(folder)
    except OSError:
        # The same cell was finished meanwhile, by a task whose node was thought dead: it has the same cases.
        if not folder.is_dir():
            raise
    say(f"{environment.torch}: finished in {time.monotonic() - started:.0f} s")
    return Cell(release.asked, environment.torch, record, environment=environment, folder=folder)


def _die_with_parent() -> None:
    """Has the kernel end this process when its parent is killed: nobody would look at what it does."""
    assert _C is not None
    _C.prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGTERM)


def _end(child: subprocess.Popen[str]) -> None:
    """Waits for an interrupted run, which has had the signal as well, and ends it if it does not end."""
    try:
        child.wait(timeout=10)
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        child.kill()
        child.wait()


def write_line(text: str) -> None:
    """Progress goes to the standard error: what is asked for goes to the standard output."""
    print(text, file=sys.stderr, flush=True)
