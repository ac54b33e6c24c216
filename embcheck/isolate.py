"""What may take a process down: the running case is kept where it survives, and re-run in children.

A worker writes each case, before executing it, into a memory-mapped slot.  When the worker dies the controller reads
the slot, so a crash or a hang is a verdict about a named case.  Reduction then runs every candidate in a fork of a
process that has imported torch but run nothing (``python -m embcheck.isolate``).
"""

from __future__ import annotations

import contextlib
import faulthandler
import json
import marshal
import mmap
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from embcheck.case import _CASE_TYPES, Axes, parse

_SIZE = 1 << 16
_HEAD = struct.Struct("<dII")


class Slot:
    """A file of one page group that holds the item and the case that a worker is running."""

    def __init__(self, path: Path) -> None:
        with path.open("wb") as file:
            file.truncate(_SIZE)
        self._file = path.open("r+b")
        self._map = mmap.mmap(self._file.fileno(), _SIZE)
        self._item = b""

    def begin(self, nodeid: str, label: str) -> None:
        """Names the test and its item; no case is running yet."""
        self._item = f"{nodeid}\t{label}".encode()[:4096]
        self.running(b"")

    def running(self, case: bytes) -> None:
        """Notes the case that is about to be executed."""
        body = self._item + case
        end = _HEAD.size + len(body)
        if end <= _SIZE:
            self._map[_HEAD.size : end] = body
            _HEAD.pack_into(self._map, 0, time.time(), len(self._item), len(case))


class Running(NamedTuple):
    """What a slot says: the test, its item's label, the case's bytes and when it began, in seconds since the epoch."""

    nodeid: str
    label: str
    case: bytes
    started: float


def read_slot(path: Path) -> Running:
    """What a worker was running; the case is empty if none was."""
    data = path.read_bytes()
    started, item, case = _HEAD.unpack_from(data)
    body = data[_HEAD.size :]
    nodeid, _, label = body[:item].decode().partition("\t")
    return Running(nodeid, label, body[item : item + case], started)


def case_of(name: bytes) -> Axes:
    """The case that a slot's bytes name."""
    type_name, values = marshal.loads(name)
    return _CASE_TYPES[type_name](*values)


class Watchdog:
    """Ends the process when one case takes longer than ``limit`` seconds, even inside a kernel that holds the GIL."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._armed = 0.0

    def tick(self) -> None:
        """A case begins; the alarm is set anew, at most once a second since that costs more than a case."""
        now = time.monotonic()
        if now - self._armed > 1:
            faulthandler.dump_traceback_later(self.limit, exit=True, file=sys.__stderr__ or 2)
            self._armed = now

    def stop(self) -> None:
        """No case is running."""
        faulthandler.cancel_dump_traceback_later()
        self._armed = 0.0


# -- in the child ------------------------------------------------------------------------------------------------


def symptom(family: Any, mode: Any, case: Any, limit: float) -> str | None:
    """How executing a case in a fork ends: ``crash SIGSEGV``, ``hang``, or None if it comes back."""
    from embcheck.execute import run

    child = os.fork()
    if child == 0:
        status = 3
        with contextlib.suppress(BaseException):
            silent = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silent, 1)
            os.dup2(silent, 2)
            run(family.plan(case), mode)
            status = 0
        os._exit(status)
    end = time.monotonic() + limit
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            if os.WIFSIGNALED(status):
                return f"crash {signal.Signals(os.WTERMSIG(status)).name}"
            return None
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return "hang"


def _answer(request: dict[str, Any]) -> dict[str, Any]:
    import torch

    from embcheck.collect import load_families
    from embcheck.law import Difference
    from embcheck.mode import MODES
    from embcheck.reduce import reduce_case
    from embcheck.replay import script

    torch.set_num_threads(1)
    family, mode = load_families()[request["family"]], MODES[request["mode"]]
    case: Any = parse(request["case"])
    limit = float(request["limit"])
    found = symptom(family, mode, case, limit)
    tried = 0
    if found is not None and request.get("reduce"):
        case, tried = reduce_case(
            case, family.space, lambda smaller: symptom(family, mode, smaller, limit) == found, seconds=request["seconds"]
        )
    kind = found or "crash"
    law = next(law for law in family.laws if law.name.endswith("_is_accepted"))
    words = f"the process died: {kind}" if kind != "hang" else f"no end after {limit:g} s"
    program = script(family, mode, law, case, Difference(kind, "error", words, None, words))
    return {"symptom": found, "case": repr(case), "tried": tried, "law": law.name, "words": words, "script": program}


def examine(
    family: str, mode: str, case: str, *, limit: float = 10.0, reduce: bool = True, seconds: float = 30.0
) -> dict[str, Any]:
    """Runs a case in a child of a child and returns its symptom, the smallest case with it, and the script."""
    request = {"family": family, "mode": mode, "case": case, "limit": limit, "reduce": reduce, "seconds": seconds}
    done = subprocess.run(
        [sys.executable, "-m", "embcheck.isolate"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        timeout=seconds + 4 * limit + 60,
        check=False,
    )
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        return {"symptom": None, "case": case, "tried": 0, "law": f"{family}_is_accepted", "words": tail[0], "script": ""}
    answer: dict[str, Any] = json.loads(lines[-1])
    return answer


if __name__ == "__main__":
    print(json.dumps(_answer(json.loads(sys.stdin.read()))))
