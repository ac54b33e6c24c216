"""Runs scripts one after the other, each in a fork of a process that has imported torch and nothing of this package.

``python alone.py SECONDS [MODULE …]`` imports those modules too.  Then it reads a script's path from each line, and answers with
its exit status, or null if it used more CPU time than that or waits for ever; 70 if it died, or ended in a traceback that it did
not expect.  To import torch takes seconds, which a dozen scripts need not spend each.
"""

import contextlib
import ctypes
import gc
import importlib
import json
import os
import runpy
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING or __package__:
    from embcheck.engine.crashes.patience import Patience, end_of
else:  # run as a program, whose folder is where modules are looked for
    from patience import Patience, end_of

#: What a script that can't run ends with: not a status of its own.
BROKEN = 70
#: Seconds for which a script may use next to no CPU time: one that tells itself that a child waits for ever takes two minutes.
_IDLE = 300.0
#: Whether a script shows its difference, by its exit status; of any other nothing is known.
SHOWS: dict[int | None, bool] = {1: True, 0: False}


def end_with_parent() -> None:
    """Has the kernel end this process when its parent is killed, as `embcheck.core.processes.end_with_parent` does."""
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)


def silenced() -> None:
    """What this process writes is lost from here on."""
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)


def status(path: str, seconds: float, idle: float = _IDLE) -> int | None:
    """How a script ends that is run in a fork, as a program of its own; None if it hangs, which says nothing."""
    child = os.fork()
    if child == 0:
        silenced()
        os.setsid()  # what it starts itself ends with it
        end_with_parent()
        os._exit(_run(path))
    how = end_of(child, Patience(child, seconds, idle))
    if how is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return None
    return os.WEXITSTATUS(how) if os.WIFEXITED(how) else BROKEN


def _run(path: str) -> int:
    sys.argv = [path]
    with contextlib.suppress(BaseException):
        code = exit_status(lambda: runpy.run_path(path, run_name="__main__"))
        return BROKEN if code is None else code
    return BROKEN


def exit_status(program: Callable[[], object]) -> int | None:
    """How a program ends that is called here; None for a traceback that its own ``sys.excepthook`` makes no status of."""
    hook = sys.excepthook
    try:
        try:
            program()
        except Exception as error:
            if sys.excepthook is not hook:
                sys.excepthook(type(error), error, error.__traceback__)
            return None
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        sys.excepthook = hook
    return 0


if __name__ == "__main__":
    end_with_parent()
    import torch  # what every script imports first
    import torch._dynamo  # noqa: F401  (which optimizers import at their first step: not in every fork)

    sys.path.pop(0)  # this folder, whose modules are no script's business
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would touch, and so copy, all that was imported
    for line in sys.stdin:
        print(json.dumps(status(line.rstrip("\n"), float(sys.argv[1]))), flush=True)
