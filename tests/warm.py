"""Programs in forks of one process that has imported torch, pytest and the laws, which takes a process of its own seconds.

A fork is new in all else: it has computed nothing, no thread runs in it, and it ends as an interpreter ends.  A process of its
own is needed by what is set before torch or embcheck is imported (a CPU level, the encoding of the output), and by signals.
"""

import atexit
import concurrent.futures
import contextlib
import functools
import gc
import importlib
import io
import json
import multiprocessing
import os
import runpy
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any

import pytest
from command import Said

ROOT = Path(__file__).parents[1]
ON_LINUX = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells which processes there are")
#: A program that gets a tenth of a second of CPU time, and for a second none, again and again.
SLOW = """
import time
for _ in range(4):
    end = time.process_time() + 0.1
    while time.process_time() < end: pass
    time.sleep(1.0)
"""
#: Of a request, which travels in one message.
_LONGEST = 1 << 17


def python(
    *words: object, cwd: Path | None = None, environment: Mapping[str, str] | None = None, stdout: int | None = None
) -> subprocess.CompletedProcess[str]:
    """What ``python WORDS`` does, where the words are ``-m MODULE``, ``-c PROGRAM`` or a path, and arguments."""
    given = list(map(str, words))
    asked = {"words": given, "cwd": str(cwd or Path.cwd()), "environment": dict(environment or os.environ)}
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        written = out.fileno() if stdout is None else stdout
        if sys.platform.startswith("linux"):
            link = _server()
            socket.send_fds(link, [json.dumps(asked).encode()], [written, err.fileno()])
            status = int(link.recv(_LONGEST))
        else:
            status = subprocess.run(
                [sys.executable, *given], cwd=cwd, env=environment, stdout=written, stderr=err, check=False
            ).returncode
        return subprocess.CompletedProcess(given, status, _text(out), _text(err))


def embcheck(*arguments: object, ends: int = 0, plant: Path | None = None, cwd: Path | None = None) -> Said:
    """A command of embcheck's, which must end with a code; a folder that breaks torch in every process of it may be planted."""
    more = {} if plant is None else {"PYTHONPATH": os.pathsep.join([str(plant), *_path(os.environ)])}
    done = python("-m", "embcheck", *arguments, cwd=cwd, environment=os.environ | more)
    return Said(done.returncode, done.stdout, done.stderr).ended(ends)


def statuses(scripts: Sequence[str], *_: object) -> list[int | None]:
    """How scripts end, each in a fork of this process; a run starts another, which imports torch: see
    `test_stored_scripts.py`."""
    status = importlib.import_module("embcheck.engine.crashes.alone").status
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for number, text in enumerate(scripts):
            path = Path(folder, f"{number}.py")
            path.write_text(text, encoding="utf-8")
            found.append(status(str(path), 60.0))
    return found


def eventually(met: Callable[[], bool], seconds: float = 600.0) -> bool:
    """Whether something is so within some time, on a machine under load."""
    end = time.monotonic() + seconds
    while not (so := met()) and time.monotonic() < end:
        time.sleep(0.1)
    return so


def _text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="backslashreplace").replace("\r\n", "\n")


def _path(environment: Mapping[str, str]) -> list[str]:
    return [entry for entry in environment.get("PYTHONPATH", "").split(os.pathsep) if entry]


@functools.cache
def _server() -> socket.socket:
    """The end of a socket at whose other end a process waits for requests; it ends with this one."""
    here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for each in (here, there):
        each.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _LONGEST)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), *_path(os.environ)])}
    server = subprocess.Popen(
        [sys.executable, __file__, str(there.fileno())], pass_fds=[there.fileno()], env=environment
    )
    there.close()

    def end() -> None:
        here.close()
        server.wait()

    atexit.register(end)
    return here


def _serve(link: socket.socket) -> None:
    """Forks for each request, and answers how the fork ended; in the fork it becomes what was asked for."""
    while True:
        message, descriptors, _, _ = socket.recv_fds(link, _LONGEST, 2)
        if not message:
            return
        child = os.fork()
        if child == 0:
            link.close()
            _become(json.loads(message), descriptors)
            return
        for descriptor in descriptors:
            os.close(descriptor)
        link.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become(asked: dict[str, Any], descriptors: list[int]) -> None:
    """Runs a program as the interpreter would."""
    for descriptor, own in zip((os.open(os.devnull, os.O_RDONLY), *descriptors), (0, 1, 2), strict=True):
        os.dup2(descriptor, own)
        os.close(descriptor)
    # A fork of this process puts others in their place, which must not close what these have.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, errors="backslashreplace", closefd=False)
    os.environ.clear()
    os.environ.update(asked["environment"])
    os.chdir(asked["cwd"])
    tempfile.tempdir = None
    kind, *rest = asked["words"]
    first = asked["cwd"] if kind in ("-m", "-c") else str(Path(kind).parent)
    sys.path[:] = [first, *_path(os.environ), *(entry for entry in sys.path if entry != str(ROOT / "tests"))]
    # What workers get, which xdist keeps when it is imported.
    importlib.import_module("xdist.plugin")._sys_path[:] = sys.path
    for planted in (Path(entry, "sitecustomize.py") for entry in _path(os.environ)):
        if planted.is_file():
            runpy.run_path(str(planted))
            break
    vars(importlib.import_module("embcheck.engine.crashes.crash")).update(exit_statuses=statuses)
    isolate = importlib.import_module("embcheck.engine.crashes.isolate")
    vars(isolate).update(Started=functools.partial(_isolating, isolate.Forked, isolate.Started))
    fork_server = importlib.import_module("embcheck.runner.fork_server")
    # Of its own module, so that another way to start it is noticed here.
    given = SimpleNamespace(Popen=_ForkServer, DEVNULL=fork_server.subprocess.DEVNULL)
    fork_server.subprocess = given  # type: ignore[attr-defined]
    if "selfcheck" in rest:
        by_hand = importlib.import_module("selfcheck.by_hand")
        pool = {"mp_context": multiprocessing.get_context("fork"), "initializer": by_hand._silenced}
        vars(by_hand).update(_pool=lambda: concurrent.futures.ProcessPoolExecutor(1, **pool))
    if kind == "-m":
        name, *sys.argv[1:] = rest
        runpy.run_module(name, run_name="__main__", alter_sys=True)
    elif kind == "-c":
        program, *arguments = rest
        sys.argv[:] = ["-c", *arguments]
        exec(compile(program, "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv[:] = [kind, *rest]
        runpy.run_path(kind, run_name="__main__")


class _ForkServer:
    """The server of a run as a fork of this process, which has run nothing: another that is started imports torch for seconds."""

    def __init__(self, command: Sequence[str], *, pass_fds: Sequence[int], **more: object) -> None:
        modules = command[command.index(str(pass_fds[0])) + 1 :]
        # Python forgets a signal in a fork that comes before it knows of the fork.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        self._pid = os.fork()
        if self._pid == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
        if self._pid == 0:
            with contextlib.suppress(BaseException):
                for number in (0, 1):
                    os.dup2(os.open(os.devnull, os.O_RDWR), number)
                listener = socket.socket(fileno=pass_fds[0])
                importlib.import_module("embcheck.runner.fork_server").serve(listener, modules)
            os._exit(0)

    def terminate(self) -> None:
        os.kill(self._pid, signal.SIGTERM)

    def wait(self) -> None:
        os.waitpid(self._pid, 0)


def _isolating(forked: Callable[[], object], started: Callable[..., object], python: Sequence[str]) -> object:
    """What isolates crashes: a fork of this process, too, as long as that has one thread."""
    return forked() if threading.active_count() == 1 else started(python)


def _prepared() -> None:
    """Imports what forks would import otherwise."""
    gc.disable()  # as a run's fork server does
    for name in (
        *("torch", "torch._dynamo", "hypothesis", "pytest", "xdist.plugin", "xdist.workermanage"),
        *("embcheck.cli.main", "embcheck.runner.run", "embcheck.runner.session", "embcheck.report.progress"),
        *("embcheck.claims.appraisal", "embcheck.runner.replay", "embcheck.claims.report"),
    ):
        importlib.import_module(name)
    with contextlib.suppress(ImportError):  # of an extra
        importlib.import_module("embcheck.report.page")
    given, sys.argv[1:] = sys.argv[1:], ["laws"]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        sys.modules["embcheck.cli.main"].main()  # for what typer imports where a command is called
    sys.argv[1:] = given
    importlib.import_module("embcheck.subject.collect").load_families()
    gc.freeze()
    gc.enable()


if __name__ == "__main__":
    _prepared()
    _serve(socket.socket(fileno=int(sys.argv[1])))
