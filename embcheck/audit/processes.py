"""Where an audit is judged: workers that have one thread each, and in them a process of its own for each model.

Knows no torch.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any, TypeVar

from embcheck.core.processes import end_with_parent
from embcheck.engine.crashes.alone import silenced
from embcheck.engine.crashes.patience import Hangs, Patience

T = TypeVar("T")

#: A process whose libraries have started threads can't be forked safely.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class Ended(Exception):
    """A process gave no answer: it died, or has no end; the message says which."""


@contextlib.contextmanager
def workers(count: int) -> Iterator[ProcessPoolExecutor]:
    """So many processes to audit models in; an error here, and an interrupt, ends them at once."""
    before = {name: value for name, value in os.environ.items() if name in _ONE_THREAD}
    os.environ.update(_ONE_THREAD)
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin)
    try:
        yield pool
    except BaseException:
        for child in multiprocessing.active_children():
            child.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        for name in _ONE_THREAD:
            del os.environ[name]
        os.environ.update(before)


def _begin() -> None:
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it decides what becomes of an interrupted audit
    silenced()


def streamed(work: Callable[..., Iterator[T]], *given: Any, limit: float) -> Iterator[T]:
    """What a generator function yields in a process of its own, a fork of this one where that is safe.

    Raises:
        Ended: if it does not come to its end: it died, or took more than ``limit`` seconds of CPU time for the next value, or
            waits for ever.
    """
    context: Any = multiprocessing.get_context("fork" if _forks_are_safe() else "spawn")
    ours, theirs = context.Pipe(duplex=False)
    child = context.Process(target=_send, args=(theirs, work, given))
    gc.freeze()  # a collection in a fork would touch, and so copy, all that was imported
    child.start()
    theirs.close()
    try:
        while True:
            patience = Patience(child.pid, limit)
            while not ours.poll(0.1):
                if patience.over:
                    raise Ended(str(Hangs(limit)))
            yield ours.recv()
    except (EOFError, OSError):
        child.join()
        if code := child.exitcode:
            how = signal.Signals(-code).name if code < 0 else f"exit {code}"
            raise Ended(f"the process died: {how}") from None
    finally:
        child.kill()
        child.join()
        ours.close()


def _send(pipe: Any, work: Callable[..., Iterator[Any]], given: tuple[Any, ...]) -> None:
    end_with_parent()
    silenced()
    for value in work(*given):
        pipe.send(value)


def _forks_are_safe() -> bool:
    """Whether this process may be forked: its system does it well, and nothing runs beside the main thread."""
    if not sys.platform.startswith("linux") or threading.active_count() > 1:
        return False
    torch = sys.modules.get("torch")
    return len(os.listdir("/proc/self/task")) == 1 and not (torch and torch.cuda.is_initialized())
