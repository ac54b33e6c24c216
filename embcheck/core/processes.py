"""What one process of embcheck leaves to another, and what is left of those that were killed: nothing, soon."""

import contextlib
import ctypes
import getpass
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from embcheck.core.files import lock

#: Loaded before any fork, after which nothing may be imported.
_C, _SET_PARENT_DEATH_SIGNAL = ctypes.CDLL(None) if sys.platform.startswith("linux") else None, 1
_PREFIX = "embcheck-"


def end_with_parent(sign: int = signal.SIGKILL) -> None:
    """Has the kernel end this process when its parent is killed: nobody would look at what it does.

    Elsewhere than on Linux it ends when it next reads from its parent.
    """
    if _C is not None:
        _C.prctl(_SET_PARENT_DEATH_SIGNAL, sign)


@contextlib.contextmanager
def termination_interrupts() -> Iterator[None]:
    """A SIGTERM, by which a CI ends what takes too long, is an interruption: what is left can be written then.

    A second one, which `timeout` sends to the whole group, must not interrupt that.  A fork dies of it: what is raised while it is
    made is ignored, and who ends it would wait for ever.
    """
    here = os.getpid()

    def interrupt(*_: object) -> None:
        if os.getpid() != here:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            signal.raise_signal(signal.SIGTERM)
        # Not SIG_IGN, which processes that are started would inherit.
        signal.signal(signal.SIGTERM, lambda *_: None)
        raise KeyboardInterrupt

    former = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, former)


def keep_few_kernels() -> None:
    """Has torch and oneDNN keep few of the kernels that they made for shapes that were seen.

    Each keeps 1,024 of up to half a megabyte, which random cases hardly ever meet again.  They look at these variables
    when they make the first one.
    """
    for name in ("LRU_CACHE_CAPACITY", "ONEDNN_PRIMITIVE_CACHE_CAPACITY"):
        os.environ.setdefault(name, "64")


def wait_at_rest() -> None:
    """Has the threads of a kernel that has several wait for the next one without using a processor.

    By default they spin, which takes longer than what most cases compute.  OpenMP looks at this variable as torch is imported.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def give_back_memory() -> None:
    """Hands free memory in the middle of the heap back to the system, which glibc does not by itself.

    Among what large cases leave there something small always stays.
    """
    if _C is not None and hasattr(_C, "malloc_trim"):
        _C.malloc_trim(0)


class RunFolder:
    """A folder of a run's own among the system's temporary ones; those of runs that were killed are removed.

    Its name says which process made it, and it is locked as long as that lives.
    """

    def __init__(self) -> None:
        _sweep(Path(tempfile.gettempdir()))
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._descriptor = os.open(self.path, os.O_RDONLY)
        lock(self._descriptor)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)
        with contextlib.suppress(OSError):
            os.close(self._descriptor)


def _sweep(folder: Path) -> None:
    """Removes the folders of runs that are no more."""
    for path in folder.glob(f"{_PREFIX}*-*"):
        pid = path.name.removeprefix(_PREFIX).partition("-")[0]
        if not pid.isdecimal() or _lives(int(pid)):
            continue
        with contextlib.suppress(OSError):  # of which Busy is one: in a container with other numbers, it may be alive
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if os.fstat(descriptor).st_uid == os.getuid():
                    lock(descriptor)
                    shutil.rmtree(path, ignore_errors=True)
            finally:
                os.close(descriptor)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # somebody else's
    return True


@contextlib.contextmanager
def own_temporary_files() -> Iterator[None]:
    """What this process and those that it starts write for a moment lies in a folder of its own."""
    held = RunFolder()
    try:
        with temporary_files_in(held.path):
            yield
    finally:
        held.remove()


@contextlib.contextmanager
def temporary_files_in(folder: Path) -> Iterator[None]:
    """What this process and those that it starts write for a moment lies in a folder, which is removed if they are killed.

    But for what torch compiles, which is kept where it would be.
    """
    before, variables = tempfile.tempdir, ("TMPDIR", "TORCHINDUCTOR_CACHE_DIR")
    former = {name: os.environ.get(name) for name in variables}
    with contextlib.suppress(OSError, KeyError):  # a user without a name
        os.environ.setdefault(variables[1], str(Path(tempfile.gettempdir()) / f"torchinductor_{getpass.getuser()}"))
    os.environ[variables[0]] = tempfile.tempdir = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before
        for name, value in former.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
