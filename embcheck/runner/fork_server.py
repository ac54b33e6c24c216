"""One start of torch for all processes of a run: a server imports torch and the laws, and forks for each process that is asked for.

To import them takes a process five seconds of CPU time, of which a fork needs none.  `ForkServer` is what the controlling process
holds; ``python -m embcheck.runner.fork_server DESCRIPTOR MODULE …`` is the server, which imports these modules, too, and
`embcheck.runner.fork_client` is its client.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from pluggy import HookimplMarker

from embcheck.core.processes import RunFolder, end_with_parent

#: What the processes of a run import, beside the laws.
_IMPORTED = (
    *("torch._dynamo", "hypothesis", "xdist.plugin", "xdist.looponfail", "_hypothesis_pytestplugin"),
    *("embcheck.engine.crashes.forks", "embcheck.engine.witness", "embcheck.engine.run_item"),
    *("embcheck.report.failure", "embcheck.runner.plugin", "embcheck.runner.judging"),
)


#: What a few cases of a whole run import besides: compilers, exports and derivatives forwards.
_IMPORTED_BY_SOME = ("functorch.compile", "torch.export", "torch._decomp.decompositions_for_jvp")

#: By this numpy's BLAS has one thread: others spin, which takes several times as long as what an oracle multiplies.
_THREADS = "GOTO_NUM_THREADS"

#: How many objects more there are before Python looks for garbage: at its own 700 that took 1.5 to 2.4 % of the CPU time
#: of the two largest families.
_GARBAGE = 10_000


class ForkServer:
    """The server of a run, as a plug-in of pytest: workers are its forks.  It imports less for one that is not ``whole``."""

    def __init__(self, *, whole: bool = False) -> None:
        self._folder = RunFolder()
        path = self._folder.path / "server"
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(path))
        listener.listen()
        modules = (*_IMPORTED, *(_IMPORTED_BY_SOME if whole else ()))
        descriptor = listener.fileno()
        command = [sys.executable, "-m", "embcheck.runner.fork_server", str(descriptor), *modules]
        environment, nowhere = os.environ | {_THREADS: "1", "PYTHONWARNINGS": "ignore"}, subprocess.DEVNULL
        self._process = subprocess.Popen(command, pass_fds=[descriptor], env=environment, stdin=nowhere, stdout=nowhere)
        listener.close()
        client = Path(__file__).with_name("fork_client.py")
        # By -I it would not know PYTHONUTF8, and read the names of folders and variables otherwise than the server does.
        reads = f"utf8={sys.flags.utf8_mode}"
        #: What is run in place of ``python``.
        self.python: Sequence[str] = (sys.executable, "-I", "-S", "-X", reads, str(client), str(path))

    @HookimplMarker("pytest")(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: list[Any]) -> None:
        from embcheck.engine.crashes.isolate import start_with  # which needs numpy: the server is started before

        for spec in specs:
            if spec.popen and not spec.python:
                spec.python = shlex.join(self.python)
        start_with(self.python)

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, *exception: object) -> None:
        """Ends it, and the forks that are left."""
        self._folder.remove()  # first, so that clients see why the server ends
        self._process.terminate()
        self._process.wait()


def python_of(config: Any) -> Sequence[str]:
    """What runs Python for a session: its fork server's client, or the interpreter."""
    servers = (plugin.python for plugin in config.pluginmanager.get_plugins() if isinstance(plugin, ForkServer))
    return next(servers, (sys.executable,))


def serve(listener: socket.socket, modules: Sequence[str]) -> None:
    """Forks for each client, once it has imported the laws and modules, until it is told to end; the forks that are left then
    end with it."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the controlling process decides what becomes of an interrupted run
    # Told to end while it imports it dies: what a handler raises in there, C code makes an ImportError of.
    importlib.import_module("numpy")
    os.environ.pop(_THREADS, None)  # numpy has read it, and torch may have a BLAS of its own
    gc.disable()  # what is imported stays: to look there for garbage takes a quarter of the time
    from embcheck.subject.collect import LawsError, load_families

    try:
        load_families()
    except LawsError:
        return  # whoever asked for the laws is told; workers are then not forks
    for name in modules:
        importlib.import_module(name)
    gc.freeze()  # a collection in a fork would touch, and so copy, all that was imported
    gc.enable()
    gc.set_threshold(_GARBAGE)
    forks: set[int] = set()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    signal.signal(signal.SIGCHLD, lambda *_: _reap(forks))
    try:
        while True:
            _answer(listener, forks)
    finally:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for fork in forks:
            os.kill(fork, signal.SIGKILL)
            os.waitpid(fork, 0)


def _reap(forks: set[int]) -> None:
    with suppress(ChildProcessError):
        while ended := os.waitpid(-1, os.WNOHANG)[0]:
            forks.discard(ended)


def _answer(listener: socket.socket, forks: set[int]) -> None:
    connection, _ = listener.accept()
    size, streams, _, _ = socket.recv_fds(connection, 8, 3)
    if len(streams) == 3:
        # What a signal's handler raises in what Python calls after a fork is ignored: the server would never end.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        fork = os.fork()
        if fork == 0:
            listener.close()
            _become(connection, streams, int.from_bytes(size, "big"))
        forks.add(fork)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    connection.close()
    for stream in streams:
        os.close(stream)


def _become(connection: socket.socket, streams: list[int], size: int) -> NoReturn:
    """Does in a fork what a client was asked for, to the end of the process."""
    end_with_parent()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for changed in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(changed, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    status = 1
    try:
        with connection.makefile("rb") as sent:
            arguments, folder, environment = json.loads(sent.read(size))
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", buffering=1), open(2, "w", buffering=1)  # noqa: SIM115
        try:
            connection.sendall(b"!")
        except BrokenPipeError:  # its client was interrupted: nobody waits for what it would do
            os._exit(status)
        status = _run(arguments)
    except KeyboardInterrupt:
        pass  # who started its client is interrupted as well, and tells that
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    _end(status)


def _run(arguments: list[str]) -> int:
    """Runs ``-m MODULE`` or ``-c PROGRAM`` as python does; other options before these are of no account here."""
    kind, what = arguments[-2:]
    try:
        if kind == "-m":
            runpy.run_module(what, run_name="__main__", alter_sys=True)
        else:
            main = sys.modules["__main__"] = ModuleType("__main__")
            exec(what, vars(main))
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _end(status: int) -> NoReturn:
    """Ends the process as Python does, but for taking all apart that was imported."""
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.SIG_IGN)  # it ends already
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    with suppress(SystemExit):
        serve(socket.socket(fileno=int(sys.argv[1])), sys.argv[2:])
    _end(0)
