"""Files that are whole or not there, and a file that one process at a time writes."""

import errno
import os
import stat
from pathlib import Path
from typing import IO


def write_whole(path: Path, text: str) -> None:
    """Writes a file so that whoever looks sees what was there before, or all of the new text.

    A link keeps leading where it led, and a pipe or a device is written to.

    Raises:
        OSError: if it can't be written, with the name of the file; nothing is left of the attempt.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    end = Path(os.path.realpath(path))
    beside = end.with_name(f".{end.name}.{os.getpid()}") if end.is_file() or not end.exists() else end
    try:
        beside.write_text(text, encoding="utf-8", errors="backslashreplace")
        if beside != end:
            beside.replace(end)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        if beside != end:
            beside.unlink(missing_ok=True)


def with_table(page: str, mark: str, table: str) -> str:
    """A page of the documentation with its last table anew: what stands below the line that begins with ``mark``."""
    before, _, after = page.partition(mark)
    return f"{before}{mark}{after.partition(chr(10))[0]}\n\n{table}"


class Busy(OSError):
    """Another process writes there."""


def unwritable(error: OSError) -> str:
    """Why a folder can't be written, and what to do, in a line."""
    return f"{error.strerror or error}; name {'another' if isinstance(error, Busy) else 'a writable'} folder"


def opened_alone(path: Path) -> IO[str]:
    """A file opened for writing, which no other process can open so until this one closes it, or ends; `emptied` drops what it has.

    Raises:
        Busy: if another process has it open so.
        OSError: if it can't be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o666), "w", encoding="utf-8")
    try:
        if _has_content(file):
            lock(file.fileno())
    except BaseException:
        file.close()
        raise
    return file


def emptied(file: IO[str]) -> None:
    """Drops what an open file has, if nothing was written to it so far."""
    if _has_content(file):
        file.truncate(0)


def is_empty(file: IO[str]) -> bool:
    """Whether an open file could have something, and has nothing."""
    return _has_content(file) and os.fstat(file.fileno()).st_size == 0


def _has_content(file: IO[str]) -> bool:
    """Whether what was written to a file stays there: not in a pipe or a device."""
    return stat.S_ISREG(os.fstat(file.fileno()).st_mode)


def lock(descriptor: int) -> None:
    """Locks an open file or folder for this process; the lock ends with it, however it ends.

    Raises:
        Busy: if another process has locked it.
    """
    try:
        import fcntl

        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Busy(errno.EBUSY, "another run writes there now") from None
    except (ImportError, OSError):
        pass  # a system, or a file system, without such locks
