"""Watches the workers of a run: one that hangs in a case is killed, so that the run comes to its end."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from pathlib import Path

from embcheck.engine.crashes.patience import IDLE, LOOK, PROC, Patience
from embcheck.engine.crashes.slot import Running, read_slot


class Watch(threading.Thread):
    """Kills the workers of this process, whose slots lie in a folder, that hang in one case.

    What became of the case is then seen alone: here it may be the oracle that hangs, or embcheck.
    """

    def __init__(self, folder: Path, limit: float, idle: float | None = None) -> None:
        super().__init__(daemon=True)
        self.folder, self.limit, self.idle = folder, limit, 2 * IDLE if idle is None else idle
        self._ended = threading.Event()
        #: what each worker runs; the patience with a case begins where two looks in turn find it
        self._watched: dict[Path, tuple[Running, Patience | None]] = {}

    def run(self) -> None:
        while not self._ended.wait(LOOK):
            self.look()

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
        """Nobody is watched any more."""
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
