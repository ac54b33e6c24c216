"""What a worker is running, kept where it survives the worker's death.

A worker writes each case, before executing it, into a memory-mapped slot.  When the worker dies the controlling
process reads the slot, so a crash or a hang is a verdict about a named case.
"""

from __future__ import annotations

import faulthandler
import marshal
import mmap
import struct
import sys
import time
from pathlib import Path
from typing import NamedTuple

from embcheck.axes import CASE_TYPES, Axes

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
    return CASE_TYPES[type_name](*values)


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
