"""What a worker is running, kept where it survives the worker's death.

A worker writes each case, before executing it, into a memory-mapped slot.  When the worker dies the controlling
process reads the slot, so a crash or a hang is a verdict about a named case.  `Watch` kills a worker that hangs in a case.
"""

import contextlib
import marshal
import mmap
import os
import signal
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from embcheck.core.axes import CASE_TYPES, Axes
from embcheck.engine.crashes.patience import IDLE, LOOK, PROC, Patience

_SIZE = 1 << 16
_HEAD = struct.Struct("<dII")


class Slot:
    """A file of one page group that holds the item and the case that a worker is running."""

    def __init__(self, folder: Path, worker: str) -> None:
        path = folder / f"slot-{worker}-{os.getpid()}"
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
        """Notes the case that is about to be executed; empty for none."""
        body = self._item + case
        end = _HEAD.size + len(body)
        if end <= _SIZE:
            self._map[_HEAD.size : end] = body
            _HEAD.pack_into(self._map, 0, time.time(), len(self._item), len(case))


class Deaths:
    """What the workers of a run died of, noted in its folder for those that take their place."""

    def __init__(self, folder: Path) -> None:
        self._crashing, self._deadly = folder / "crashing", folder / "deadly"

    def crashes(self, family: str) -> None:
        """A case of a family crashes torch: its cases are to be tried elsewhere first."""
        self._note(self._crashing, family)

    def kills(self, case: bytes) -> None:
        """A case ends the worker that judges it, though not the process that only executes it: it is to be left out."""
        self._note(self._deadly, case.hex())

    def _note(self, path: Path, line: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def crashing(self, family: str) -> bool:
        """Whether a family's cases are to be tried elsewhere first."""
        return family in _lines(self._crashing)

    @property
    def deadly(self) -> frozenset[bytes]:
        """The cases that are to be left out."""
        return frozenset(map(bytes.fromhex, _lines(self._deadly)))


def _lines(path: Path) -> list[str]:
    return path.read_text(encoding="utf-8").splitlines() if path.is_file() else []


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
    return CASE_TYPES[type_name](*values)


class Watch(threading.Thread):
    """Kills the workers of this process, whose slots lie in a folder, that hang in one case.

    What became of the case is then seen alone: here it may be the oracle that hangs, or embcheck.
    """

    def __init__(
        self, folder: Path, limit: float, idle: float | None = None, meanwhile: Callable[[], None] | None = None
    ) -> None:
        """``meanwhile`` is called after each look."""
        super().__init__(daemon=True)
        self.meanwhile = meanwhile
        self.folder, self.limit, self.idle = folder, limit, 2 * IDLE if idle is None else idle
        self._ended = threading.Event()
        #: what each worker runs; the patience with a case begins where two looks in turn find it
        self._watched: dict[Path, tuple[Running, Patience | None]] = {}

    def run(self) -> None:
        while not self._ended.wait(LOOK):
            self.look()
            if self.meanwhile is not None:
                self.meanwhile()

    def look(self) -> None:
        """Looks at every worker once."""
        for path in self.folder.glob("slot-*"):
            with contextlib.suppress(OSError, ValueError, KeyError):  # it dies, and its slot is used up, meanwhile
                running, pid = read_slot(path), int(path.name.rpartition("-")[2])
                before, patience = self._watched.pop(path, (None, None))
                if before == running and running.case:
                    patience = patience or Patience(pid, self.limit, self.idle)
                    if patience.over and _is_mine(pid):
                        os.kill(pid, signal.SIGKILL)
                self._watched[path] = running, patience if before == running else None

    def stop(self) -> None:
        self._ended.set()


def _is_mine(pid: int) -> bool:
    """Whether a process is this one's child, or one of its fork server's: its number may have been given to another."""
    try:
        parent = _parent(pid)
        return os.getpid() in (parent, _parent(parent))
    except OSError:
        return not PROC.exists()


def _parent(pid: int) -> int:
    return int((PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1])
