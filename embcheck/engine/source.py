"""embcheck's own code as one thing: its fingerprint, and a copy of it that other interpreters can run.

A copy is laid out as a wheel is, with its entry point, so a folder on ``PYTHONPATH`` is all that an interpreter
needs, and an edit in the checkout does not change what a long run compares.
"""

import hashlib
import os
import shutil
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement

from embcheck.subject.collect import properties_folder

_PACKAGE = Path(__file__).parents[1]
_KEPT = {".py", ".toml", ".json", ".j2", ".css", ".js", ".typed"}


def contents() -> dict[str, bytes]:
    """Every file of the package and of the laws, by its path in an installation."""
    found = {}
    for top, place in ((_PACKAGE, "embcheck"), (properties_folder(), "embcheck/properties")):
        for path in sorted(top.rglob("*")):
            inside = path.relative_to(top)
            if path.suffix in _KEPT and path.is_file() and (place != "embcheck" or inside.parts[0] != "properties"):
                found[f"{place}/{inside.as_posix()}"] = path.read_bytes()
    return found


def digest(code: Mapping[str, bytes] | None = None) -> str:
    """Twelve hexadecimal digits that change with any of these files."""
    state = hashlib.blake2b(digest_size=6)
    for place, content in (contents() if code is None else code).items():
        state.update(f"{place}\0{len(content)}\0".encode() + content)
    return state.hexdigest()


def copy(folder: Path) -> Path:
    """A copy of the code in ``folder``, named by its digest; made at most once."""
    code = contents()
    target = folder / digest(code)
    if target.is_dir():
        return target
    making = target.with_name(f"{target.name}.{os.getpid()}")
    information = {
        "METADATA": b"Metadata-Version: 2.1\nName: embcheck\nVersion: 0\n",
        "entry_points.txt": b"[pytest11]\nembcheck = embcheck.runner.plugin\n",
    }
    code |= {f"embcheck-0.dist-info/{name}": content for name, content in information.items()}
    for place, content in code.items():
        path = making / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    try:
        making.rename(target)
    except OSError:  # somebody else was faster
        shutil.rmtree(making)
    return target


def requirements() -> list[str]:
    """What embcheck needs beside torch, as it declares itself.

    Raises:
        PackageNotFoundError: if it is run from a checkout that nobody installed.
    """
    declared = requires("embcheck")
    if declared is None:
        raise PackageNotFoundError("embcheck")
    found = [Requirement(line) for line in declared]
    return [str(r) for r in found if r.name != "torch" and "extra" not in str(r.marker or "")]
