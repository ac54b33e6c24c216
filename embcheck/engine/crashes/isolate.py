"""Asks how a case ends without taking part in it: the client of `embcheck.engine.crashes.forks`."""

import atexit
import base64
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from embcheck.core.ledger import SHIPPED
from embcheck.core.outcome import ProcessDied


class NoAnswer(RuntimeError):
    """The process that isolates crashes gave no answer; the message says what was asked."""


class Forked:
    """A fork of this process that answers requests, as ``python -m embcheck.engine.crashes.forks`` does."""

    def __init__(self) -> None:
        import gc

        from embcheck.core.processes import end_with_parent
        from embcheck.engine.crashes.forks import answer_all

        gc.freeze()  # a collection in a fork would touch, and so copy, all that was imported
        asked, told = os.pipe(), os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                end_with_parent()
                # The controlling process waits for a worker's end of their pipe to close.  Objects of the worker, such as
                # a logging handler, still own the other descriptors: they write to nothing from now on.
                nothing = os.open(os.devnull, os.O_RDWR)
                for other in {int(name) for name in os.listdir("/dev/fd")} - {0, 1, 2, asked[0], told[1], nothing}:
                    os.dup2(nothing, other)
                answer_all(os.fdopen(asked[0]), os.fdopen(told[1], "w"))
            finally:
                os._exit(0)
        os.close(asked[0])
        os.close(told[1])
        self.stdin, self.stdout = os.fdopen(asked[1], "w"), os.fdopen(told[0])

    def end(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        self.stdin.close()
        self.stdout.close()


class Started:
    """The same as a process that is started, which takes seconds, unless it is a fork of a run's server."""

    def __init__(self, python: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [*python, "-m", "embcheck.engine.crashes.forks"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.stdin, self.stdout = self._process.stdin, self._process.stdout

    def end(self) -> None:
        self._process.kill()
        self._process.communicate()


#: A process that has imported torch, but runs nothing itself: it tells how cases end in forks of it.  It takes seconds to
#: start, so it stays.  A fork of a worker that has run a case would not do: its thread pools don't survive one.
_process: Forked | Started | None = None
_python: Sequence[str] = (sys.executable,)


def fork() -> None:
    """Has the cases of this process end in forks of it as it is now, which must have imported the laws and run nothing."""
    global _process
    if _process is None:
        _process = Forked()
        atexit.register(close)


def start_with(python: Sequence[str]) -> None:
    """Has the process started with what runs Python in place of the interpreter: see `embcheck.runner.fork_server`."""
    global _python
    _python = python


def close() -> None:
    global _process
    if _process is not None:
        ended, _process = _process, None
        ended.end()


def _ask(family: str, mode: str, limit: float, **more: Any) -> Any:
    """One request, one answer; a case may take ``limit`` seconds of CPU time."""
    global _process
    if _process is None:
        _process = Started(_python)
        atexit.register(close)
    try:
        _process.stdin.write(json.dumps({"family": family, "mode": mode, "limit": limit, **more}) + "\n")
        _process.stdin.flush()
        line = _process.stdout.readline()
    except BrokenPipeError:
        line = ""
    except BaseException:
        close()  # its answer would be taken for that of the next request
        raise
    if not line.endswith("\n"):  # it died, be it in the middle of an answer
        close()
        raise NoAnswer("the process that isolates crashes died itself")
    return json.loads(line)


def ready() -> None:
    """Starts the process, which takes seconds: not on a case's time."""
    _ask("", "", 0.0, ready=True)


def probe(family: str, mode: str, device: str, limit: float, cases: list[Any]) -> list[str | None]:
    """The symptom of each case, up to the first that hangs."""
    answer: list[str | None] = _ask(family, mode, limit, device=device, cases=[repr(case) for case in cases])
    return answer


def confined(family: str, mode: str, case: str, device: str) -> dict[str, Any]:
    """How a case ends on a device, in a process of its own: its error's name and message, and what it wrote."""
    answer: dict[str, Any] = _ask(family, mode, 60.0, refusal=case, device=device)
    return answer


def elsewhere(family: str, mode: str, case: str, device: str, setup: Sequence[tuple[str, str]] = ()) -> bytes:
    """The outcome of a case on a device, packed, from a fork of a process that has run nothing and enters ``setup`` first.

    Raises:
        ProcessDied: if the fork died, or came to no end.
        NoAnswer: if nothing came back for another reason.
    """
    answer = _ask(family, mode, 150.0, outcome=case, device=device, setup=list(setup))
    if "sent" in answer:
        return base64.b64decode(answer["sent"])
    if answer["symptom"]:
        raise ProcessDied(answer["symptom"])
    raise NoAnswer(f"the process that executed {case} sent no outcome")


def examine(
    family: str,
    mode: str,
    case: str | bytes,
    *,
    device: str = "cpu",
    limit: float = 30.0,
    seconds: float = 20.0,
    ledgers: Sequence[Path] = (SHIPPED,),
) -> dict[str, Any]:
    """A case's symptom in a child, the smallest case found within ``seconds`` that shares it, and its script.

    The case is given as it prints, or as a slot holds it.  What the ledger excludes is no smaller case.
    """
    given = {"case": case} if isinstance(case, str) else {"slot": case.hex()}
    answer: dict[str, Any] = _ask(
        family, mode, limit, **given, device=device, seconds=seconds, ledgers=[*map(str, ledgers)]
    )
    return answer
