"""When a process hangs: told by the CPU time that it and what it started used, for the clock tells how loaded a machine is."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections import defaultdict
from pathlib import Path

from embcheck.crashes.slot import Running, process_of, read_slot

#: Seconds in which a process that uses next to no CPU time is taken for one that waits for ever.
IDLE = 60.0
#: That little of one processor: what shares it with a hundred others gets more.
_NEXT_TO_NONE = 0.005
#: Seconds between two looks, for each of which the system is asked for all of its processes.
_LOOK = 1.0
_PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def processor_time(pid: int) -> float:
    """Seconds of CPU time that a process, its living descendants and those of them that ended have used.

    Where the system does not tell (there is no /proc), the clock has to stand in for it.
    """
    if not (_PROC / "self" / "stat").exists():
        return time.monotonic()
    used: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in _PROC.iterdir():
        if entry.name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended meanwhile
                # After the name, which may hold anything: the state, the parent, …, four times in ticks.
                told = (entry / "stat").read_bytes().rpartition(b")")[2].split()
                used[int(entry.name)] = sum(map(int, told[11:15])) / _TICK
                children[int(told[1])].append(int(entry.name))
    family = [pid]
    for member in family:
        family += children[member]
    return sum(used.get(member, 0.0) for member in family)


class Patience:
    """How long a process is waited for: until it has used ``limit`` seconds of CPU time, or next to none for ``idle``."""

    def __init__(self, pid: int, limit: float, idle: float | None = None) -> None:
        self.pid, self.limit, self.idle = pid, limit, IDLE if idle is None else idle
        self._began = self._then = processor_time(pid)
        self._since = self._looked = time.monotonic()

    @property
    def over(self) -> bool:
        """Whether it hangs; that is looked at once a second."""
        now = time.monotonic()
        if now - self._looked < min(_LOOK, self.limit / 4):
            return False
        self._looked, used = now, processor_time(self.pid)
        if used - self._began > self.limit:
            return True
        waited = now - self._since
        if waited < self.idle:
            return False
        idles = used - self._then < _NEXT_TO_NONE * waited
        self._then, self._since = used, now
        return idles


def symptom_of(child: int, patience: Patience) -> str:
    """How a child process ends: ``crash SIGSEGV``, ``hang`` (then it is killed), or empty if it comes back."""
    nap = 0.001
    while True:
        done, how = os.waitpid(child, os.WNOHANG)
        if done:
            return f"crash {signal.Signals(os.WTERMSIG(how)).name}" if os.WIFSIGNALED(how) else ""
        if patience.over:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "hang"
        time.sleep(nap)
        nap = min(1.2 * nap, 0.01)


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
        while not self._ended.wait(_LOOK):
            self.look()

    def look(self) -> None:
        """Looks at every worker once."""
        for path in self.folder.glob("slot-*"):
            with contextlib.suppress(OSError, ValueError, KeyError):  # it dies, and its slot is used up, meanwhile
                running, pid = read_slot(path), process_of(path)
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
    """Whether a process is this one's child: its number may have been given to another."""
    try:
        return int((_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()[1]) == os.getpid()
    except OSError:
        return not _PROC.exists()
