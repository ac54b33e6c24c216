"""Runs scripts one after the other, each in a fork of a process that has imported torch and nothing of this package.

``python alone.py SECONDS SCRIPT …`` prints a list in JSON: each script's exit status, or null if it did not end in time,
died, or ended in a traceback.  To import torch takes seconds, which a dozen scripts need not spend each.
"""

from __future__ import annotations

import contextlib
import json
import os
import runpy
import signal
import sys
import time

import torch  # noqa: F401  (what every script imports first)

#: What a script that can't run ends with: not a status of its own.
_BROKEN = 70


def silenced() -> None:
    """What this process writes is lost from here on."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def exit_of(child: int, seconds: float) -> int | None:
    """How a fork ends, as os.waitpid tells it; None if it does not in so many seconds, and still runs."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done, how = os.waitpid(child, os.WNOHANG)
        if done:
            return how
        time.sleep(0.001)
    return None


def status(path: str, seconds: float) -> int | None:
    """How a script ends that is run in a fork, as a program of its own."""
    child = os.fork()
    if child == 0:
        silenced()
        os.setsid()  # what it starts itself ends with it
        os._exit(_run(path))
    how = exit_of(child, seconds)
    if how is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    code = os.WEXITSTATUS(how) if os.WIFEXITED(how) else _BROKEN
    return None if code == _BROKEN else code


def _run(path: str) -> int:
    """Runs a script here, and tells its exit status; a message instead of one is status 1, as Python has it."""
    sys.argv = [path]
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        return _BROKEN
    return 0


if __name__ == "__main__":
    sys.path.pop(0)  # this folder, whose modules are no script's business
    print(json.dumps([status(path, float(sys.argv[1])) for path in sys.argv[2:]]))
