"""torch releases and the environments that they run in: one for each, made with uv and kept in a cache folder.

A release is asked for as a version (``2.9.1``), as ``nightly`` (with an index that has them), or as the path of an
interpreter that has a torch already.  An interpreter of somebody else's is never changed: what embcheck needs and
it lacks goes into a folder of its own.
"""

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from packaging.requirements import Requirement
from packaging.version import InvalidVersion, Version

from embcheck.core.files import write_whole
from embcheck.engine.crashes.patience import Hangs, attended
from embcheck.engine.source import requirements

#: Seconds for an installation, which waits for the network and not for this machine.
_INSTALL = 1800.0
#: Seconds of CPU time for importing torch, and as many in which it may use next to none: its files may be far away.
_IMPORT = 300.0
#: Before this release torch was built for numpy 1.
_NUMPY_2 = Version("2.3")
#: Our own dependency whose version must be the same everywhere: the random cases are drawn with it.
_PINNED = "hypothesis"
#: Where a distribution's module has another name.
_MODULES = {"pytest-xdist": "xdist"}
#: What the folder's name begins with where packages lie that somebody's own interpreter lacks.
_BESIDE = "beside"
#: Variables that would bring this interpreter's packages, or its report, into another.
_LEFT_OUT = {"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "PYTEST_ADDOPTS", "GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"}

_PROBE = """\
import importlib.metadata, importlib.util, json, platform, sys
import torch
names = json.loads(sys.argv[1])
lacking = [name for name in names if importlib.util.find_spec(names[name]) is None]
build = [torch.version.git_version, platform.python_version()]
for name in ("numpy", "hypothesis"):
    if importlib.util.find_spec(name) is not None:
        build.append(importlib.metadata.version(name))
print(json.dumps({"torch": torch.__version__, "build": " ".join(map(str, build)), "lacking": lacking}))
"""


class ReleaseError(Exception):
    """A release that can't be installed or imported; the message says why, in one line."""


class UnknownRelease(ValueError):
    """What was asked for names no release."""


@dataclass(frozen=True)
class Release:
    """A release as it was asked for: a version, ``nightly``, or an interpreter's path."""

    asked: str
    index: str = ""

    def __post_init__(self) -> None:
        """Raises:
        UnknownRelease: if it is neither a version, nor nightly with an index, nor an interpreter.
        """
        if self.interpreter is not None:
            if not os.access(self.interpreter, os.X_OK):
                raise UnknownRelease(f"no interpreter {self.asked}; give a version of torch or the path of a python")
        elif self.asked == "nightly":
            if not self.index:
                raise UnknownRelease("nightly needs --index, such as https://download.pytorch.org/whl/nightly/cpu")
        else:
            try:
                Version(self.asked)
            except InvalidVersion:
                wanted = "a version such as 2.9.1, nightly, or the path of a python"
                raise UnknownRelease(f"no release {self.asked!r}; expected {wanted}") from None

    @property
    def interpreter(self) -> Path | None:
        """The interpreter, if one was given by its path."""
        return Path(self.asked).expanduser().absolute() if os.sep in self.asked else None

    @property
    def requirement(self) -> list[str]:
        """What uv is asked to install."""
        if self.asked == "nightly":
            return ["--prerelease=allow", "torch", "numpy"]
        return [f"torch=={self.asked}", "numpy<2" if Version(self.asked) < _NUMPY_2 else "numpy"]


@dataclass(frozen=True)
class Environment:
    """An interpreter with a torch: where it is, what it has, and what must be on its path.

    ``build`` tells apart what has the same version: torch's commit, and the releases of Python and numpy.
    """

    python: Path
    torch: str
    build: str
    path: tuple[Path, ...] = ()

    def variables(self, *more: Path) -> dict[str, str]:
        """The environment variables of its processes; ``more`` folders come first on the path."""
        folders = os.pathsep.join(map(str, (*more, *self.path)))
        return _clean() | ({"PYTHONPATH": folders} if folders else {})


def _clean() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT}
    return kept | {"PYTHONNOUSERSITE": "1", "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


class Cache:
    """The folder that holds environments, copies of embcheck, and finished cells."""

    def __init__(self, folder: Path | None = None, python: str = "") -> None:
        """``folder`` is by default the user's own cache; ``python`` is what environments are made with.

        Raises:
            ImportError: without the extra ``releases``.
        """
        import filelock
        import platformdirs

        self._lock: Any = filelock.FileLock
        chosen = folder or platformdirs.user_cache_path("embcheck") / "releases"
        self.folder = chosen.expanduser().absolute()
        self.environments, self.sources, self.cells = (
            self.folder / name for name in ("environments", "sources", "cells")
        )
        self.python = python or sys.executable
        #: embcheck's own requirements, for where it is not installed and so can't know them.
        self.needs: list[str] = []

    def environment(self, release: Release) -> Environment:
        """The release's environment, made if it is not there.

        Raises:
            ReleaseError: if it can't be installed, or its torch can't be imported.
        """
        if release.interpreter is not None:
            return self._adopted(release.interpreter)
        folder = self._folder(release)
        self.environments.mkdir(parents=True, exist_ok=True)
        with self._lock(folder.with_name(f"{folder.name}.lock")):
            python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
            # Nobody changes it, so torch need not be imported again to know what is there.
            found = remembered(folder / "finished")
            if found is None:
                self._make(release, folder, python)
                found = _probe(python)
                write_whole(folder / "finished", json.dumps(found))
        return Environment(python, str(found["torch"]), str(found["build"]))

    def makes(self, release: Release) -> bool:
        """Whether the release's environment is not there yet, and is not somebody's own."""
        return release.interpreter is None and remembered(self._folder(release) / "finished") is None

    def _folder(self, release: Release) -> Path:
        return self.environments / f"{release.asked}-{_short(release.index, self.python, platform.machine())}"

    def _make(self, release: Release, folder: Path, python: Path) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        # From one index alone: of two that both have a name, either could give what it likes.
        index = ["--index-url", release.index] if release.index else []
        try:
            _uv("venv", "--python", self.python, str(folder))
            _uv("pip", "install", "--python", str(python), *index, *release.requirement)
            _uv("pip", "install", "--python", str(python), *(self.needs or needs()))
        except ReleaseError:
            shutil.rmtree(folder, ignore_errors=True)  # gigabytes, of no use to anybody
            raise

    def _adopted(self, python: Path) -> Environment:
        """Somebody's own interpreter, with what it lacks beside it."""
        ours = {Requirement(line).name: line for line in self.needs or needs()}
        found = _probe(python, {name: _MODULES.get(name, name) for name in ours})
        lacking = [ours[name] for name in found["lacking"]]
        folder = self.environments / f"{_BESIDE}-{_short(str(python), *lacking)}"
        if lacking and not (folder / "finished").is_file():
            _uv("pip", "install", "--python", str(python), "--target", str(folder), *lacking)
            (folder / "finished").touch()
        return Environment(python, str(found["torch"]), str(found["build"]), (folder,) if lacking else ())

    def remove(self, keep: frozenset[str] = frozenset()) -> list[str]:
        """Deletes environments, all but those of the releases to keep; the names of what was deleted.

        What an interpreter of somebody's own lacks goes only if nothing is kept: it is small, and doesn't say whose it is.
        """
        folders = sorted(path for path in self.environments.glob("*") if path.is_dir())
        kept = {*keep, _BESIDE} if keep else keep
        gone = [path for path in folders if path.name.rpartition("-")[0] not in kept]
        for path in gone:
            shutil.rmtree(path, ignore_errors=True)
        return [path.name for path in gone]


def remembered(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none, whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


def _short(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()


def needs() -> list[str]:
    """embcheck's own requirements beside torch, with the version at hand where cases depend on it.

    Raises:
        ReleaseError: if embcheck is not installed, so that nobody knows them.
    """
    try:
        names = {line: Requirement(line).name for line in requirements()}
        return [f"{name}=={version(name)}" if name == _PINNED else line for line, name in names.items()]
    except PackageNotFoundError as error:
        raise ReleaseError(f"{error} is not installed here; install embcheck, with --no-deps if you like") from error


#: What is said where uv is missing.
NO_UV = "there is no uv: python -m pip install 'embcheck[releases]'"


def uv_program() -> str | None:
    """Where uv is; None if it is missing."""
    try:
        from uv import find_uv_bin

        return str(find_uv_bin())
    except (ImportError, FileNotFoundError):
        return shutil.which("uv")


def _uv(*arguments: str) -> None:
    """Runs uv."""
    program = uv_program()
    if program is None:
        raise ReleaseError(NO_UV)
    command = [program, *arguments]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_INSTALL, check=False, stdin=subprocess.DEVNULL
        )
    except subprocess.TimeoutExpired:
        raise ReleaseError(f"uv {arguments[0]}: no end after {_INSTALL:g} s") from None
    if done.returncode:
        lines = [line.strip(" ×│╰─▶") for line in done.stderr.splitlines() if not line.startswith("Using Python")]
        raise ReleaseError(f"can't be installed: {' '.join(filter(None, lines))[-400:] or 'no reason was given'}")


def _probe(python: Path, names: Mapping[str, str] | None = None) -> dict[str, Any]:
    """What an interpreter has, and which of some modules (by their distributions' names) it lacks."""
    command = [str(python), "-c", _PROBE, json.dumps(dict(names or {}))]
    try:
        done = attended(command, _IMPORT, idle=_IMPORT, env=_clean(), cwd=python.parent)
    except (OSError, Hangs) as error:
        raise ReleaseError(f"{python} can't be run: {error}") from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"it ended with status {done.returncode}"]
        raise ReleaseError(f"torch can't be imported: {lines[-1][:400]}")
    data: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return data
