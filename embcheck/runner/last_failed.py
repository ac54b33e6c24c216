"""``--last-failed``: kept failures are tried before anything else, each by a replay in a process of its own.

A failure that replay calls FIXED is forgotten.  With any other answer, and with none, it stays and fails the run, even if the
run's own cases don't meet it.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from embcheck.core.declaration import VARIABLE
from embcheck.core.replay_state import ERROR, EXIT_CODES, FIXED
from embcheck.record.store import forget, kept_in, store_of
from embcheck.record.totals import counted


class Answer(NamedTuple):
    """What replay says of a kept failure, in a line."""

    failure: str
    state: str
    words: str

    @property
    def line(self) -> str:
        forgotten = "; forgotten" if self.state == FIXED else ""
        return f"kept {self.failure}: {self.words}{forgotten}"


def asked(failure: str, store: Path) -> Answer:
    """What ``embcheck replay`` says of a failure; ERROR if it says nothing, or ends otherwise than it says."""
    command = [sys.executable, "-m", "embcheck", "replay", failure, "--store", str(store)]
    around = {name: value for name, value in os.environ.items() if name != VARIABLE}  # a record names its own subject
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", env=around, check=False)
    said = " ".join(done.stdout.split())
    state = said.partition(" ")[0]
    if EXIT_CODES.get(state) == done.returncode:
        return Answer(failure, state, said)
    told = " ".join((said, *done.stderr.split()[-40:])).strip()
    return Answer(failure, ERROR, f"{ERROR} replay ended with status {done.returncode}: {told or 'it said nothing'}")


def retried(store: Path, jobs: int = 1) -> Iterator[Answer]:
    """The answers for all failures of a store, so many at a time; what is fixed is no longer kept."""
    with ThreadPoolExecutor(max(1, jobs)) as pool:
        try:
            for answer in pool.map(lambda failure: asked(failure, store), kept_in(store)):
                if answer.state == FIXED:
                    forget(answer.failure, store)
                yield answer
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


def still(answers: Iterable[Answer]) -> dict[str, str]:
    """Those that fail a run, with what was said of them."""
    return {answer.failure: answer.words for answer in answers if answer.state != FIXED}


class LastFailed:
    """A plug-in of the controlling process: it tries what is kept while the workers collect, before they run anything."""

    def __init__(self, session: Any) -> None:
        self.session = session

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection(self, session: pytest.Session) -> None:
        if session.config.option.collectonly:
            return
        answers = []
        jobs = getattr(session.config.option, "numprocesses", None) or 1
        store = store_of(self.session.settings.report)
        if kept := kept_in(store):
            self.session.tell(f"{counted(len(kept), 'kept failure')}, tried before anything else")
        for answer in retried(store, int(jobs)):
            answers.append(answer)
            self.session.tell(answer.line)
        self.session.kept = still(answers)
