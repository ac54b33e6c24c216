"""The scripts of the known bugs, each run alone on the installed torch: they end as the ledger says of it."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
import torch

from embcheck.crashes import alone
from embcheck.known.recorded import kept, public
from embcheck.ledger import SHIPPED, load
from embcheck.machine import here

#: The release whose differences the scripts look for, but for those that only an older one shows.
MADE_WITH = "2.13.0"
#: In the place of what they look for there is another bug now, of another entry: that is neither theirs nor right.
SUPERSEDED = {"unflattened-module-copied-takes-the-process-down": "unflattened-module-cannot-be-copied"}
RECORDED = kept()


@functools.cache
def in_force() -> set[str]:
    """The entries that speak of the installed torch and of this machine."""
    return {entry.name for entry in load(SHIPPED, torch.__version__, date.today()).on(here()).entries}


@pytest.fixture(scope="module")
def run_alone() -> Iterator[Callable[[Path], int | None]]:
    """Runs a script in a fork of a process that has imported torch; it may take five minutes on a machine under load."""
    with subprocess.Popen(
        [sys.executable, alone.__file__, "300"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as server:

        def status(path: Path) -> int | None:
            assert server.stdin is not None
            assert server.stdout is not None
            server.stdin.write(f"{path}\n")
            server.stdin.flush()
            answer: int | None = json.loads(server.stdout.readline())
            return answer

        yield status


@pytest.mark.parametrize("name", RECORDED)
def test_a_stored_script_ends_as_the_ledger_says(
    name: str, run_alone: Callable[[Path], int | None], tmp_path: Path
) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text(RECORDED[name].script, encoding="utf-8")
    made_here = public(torch.__version__) == MADE_WITH
    # Another release may tell the same in other words, which is 2, and lack what a script of this one needs.
    if name in in_force():
        due = {1} if made_here else {1, 2}
    elif SUPERSEDED.get(name) in in_force():
        due = {2}
    else:
        due = {0} if made_here else {0, 2}
    assert run_alone(path) in due
