"""When a process hangs: told by the CPU time that it and what it started used, for the clock tells how loaded a machine is.

It imports nothing of this package, for `embcheck.engine.crashes.alone` must not.
"""

import contextlib
import os
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

#: Seconds in which a process that uses next to no CPU time is taken for one that waits for ever.
IDLE = 60.0
#: That little of one processor: what shares it with a hundred others gets more.
_NEXT_TO_NONE = 0.005
#: Seconds between two looks, for each of which the system is asked for all of its processes.
LOOK = 1.0
PROC = Path("/proc")
_TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100


def processor_time(pid: int) -> float:
    """Seconds of CPU time that a process, its living descendants and those of them that ended have used.

    Where the system does not tell (there is no /proc), the clock has to stand in for it.
    """
    if not (PROC / "self" / "stat").exists():
        return time.monotonic()
    used: dict[int, float] = {}
    children: dict[int, list[int]] = defaultdict(list)
    for entry in PROC.iterdir():
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
        if now - self._looked < min(LOOK, self.limit / 4):
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


def end_of(child: int, patience: Patience) -> int | None:
    """How a child process ends, as os.waitpid tells it; None if it hangs, and still runs."""
    nap = 0.001
    while True:
        done, how = os.waitpid(child, os.WNOHANG)
        if done:
            return how
        if patience.over:
            return None
        time.sleep(nap)
        nap = min(1.2 * nap, 0.01)


def symptom_of(child: int, patience: Patience) -> str:
    """How a child process ends: ``crash SIGSEGV``, ``hang`` (then it is killed), or empty if it comes back."""
    how = end_of(child, patience)
    if how is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return "hang"
    return f"crash {signal.Signals(os.WTERMSIG(how)).name}" if os.WIFSIGNALED(how) else ""


class Hangs(Exception):
    """A program has no end; the message says how long it was waited for."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"no end within {limit:g} s of CPU time, or it waits for ever")


def attended(
    command: Sequence[str],
    limit: float,
    *,
    idle: float | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Runs a program to its end: how it ended, and what it wrote.

    Raises:
        Hangs: if it used more than ``limit`` seconds of CPU time, or next to none for ``idle``; it is killed then, with what it
            started.
        OSError: if it can't be started.
    """
    with contextlib.ExitStack() as files:
        out, err = (
            files.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")) for _ in range(2)
        )
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env, cwd=cwd, start_new_session=True
        )
        try:
            patience = Patience(child.pid, limit, idle)
            while child.poll() is None:
                if patience.over:
                    raise Hangs(limit)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    child.wait(0.1)
        finally:
            if child.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(child.pid, signal.SIGKILL) if hasattr(os, "killpg") else child.kill()
                child.wait()
        for file in (out, err):
            file.seek(0)
        return subprocess.CompletedProcess(command, child.returncode, out.read(), err.read())
