"""Finds the laws: the ``properties`` of a checkout, or those shipped inside the package."""

import importlib
import os
import pkgutil
import sys
import traceback
from functools import cache
from pathlib import Path
from typing import Any

from embcheck.core.declaration import VARIABLE
from embcheck.core.facts import UnknownFact
from embcheck.core.law import FAMILIES, Family
from embcheck.core.verdict import Statement

_PACKAGE = Path(__file__).parents[1]


class LawsError(ValueError):
    """A file of laws can't be imported, or what it registers is refused; the message is one line, with the place."""


def properties_folder() -> Path:
    """The folder of the laws' files: beside the package in a checkout, inside it when installed."""
    inside = _PACKAGE / "properties"
    return inside if inside.is_dir() else _PACKAGE.parent / "properties"


def in_checkout() -> bool:
    """Whether this embcheck is a checkout, with documents and faults beside it, and not an installed wheel."""
    return properties_folder().parent != _PACKAGE


@cache
def files_of_laws() -> tuple[Path, ...]:
    return tuple(sorted(properties_folder().rglob("test_*.py")))


def load_families() -> dict[str, Family]:
    """Every family by name, in the order of the files that hold them; every mode is registered on the way.

    In a run that is about a subject of the user's, they are those that speak of its kind, brought to it.

    Raises:
        LawsError: if a file of laws can't be imported.
    """
    load_modes()
    folder = properties_folder()
    prefix = "embcheck.properties" if folder.parent == _PACKAGE else "properties"
    if prefix == "properties" and str(folder.parent) not in sys.path:
        sys.path.insert(0, str(folder.parent))
    for path in files_of_laws():
        try:
            importlib.import_module(".".join((prefix, *path.relative_to(folder).with_suffix("").parts)))
        except Exception as error:  # whatever stands in a file that someone edits
            kind = "" if isinstance(error, UnknownFact) else f"{type(error).__name__}: "
            words = error.msg if isinstance(error, SyntaxError) else error
            raise LawsError(f"{_place(path, error)}: {kind}{words}") from error
    subject = os.environ.get(VARIABLE)
    if subject:
        from embcheck.subject.activation import activate

        activate(subject)
    return FAMILIES


def _place(path: Path, error: Exception) -> str:
    """The line at which the import of a file of laws failed: the innermost in such a file, or in one of a family."""
    if isinstance(error, SyntaxError) and error.filename:
        found = [(error.filename, error.lineno)]
    else:
        found = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    own = (properties_folder(), _PACKAGE / "families", _PACKAGE / "claims")
    for name, number in reversed(found):
        if any(folder in Path(name).parents for folder in own):
            return f"{Path(name).relative_to(_PACKAGE.parent)}, line {number}"
    return str(path.relative_to(_PACKAGE.parent))


@cache
def load_modes() -> None:
    """Registers the modes of `embcheck.modes`, in the order of its modules' names."""
    package = importlib.import_module("embcheck.modes")
    for name in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"embcheck.modes.{name}")


def mode_named(name: str) -> Any:
    """The mode of a name; that of a compiler backend is made.

    Raises:
        KeyError: if there is none.
        SubjectError: if there is no such backend.
    """
    from embcheck.modes.compilers import add_backend
    from embcheck.modes.mode import MODES

    load_modes()
    add_backend(name)
    return MODES[name]


def statements(family: Family) -> list[Statement]:
    """What the laws of a family say, as a record keeps it."""
    return [
        Statement(law.name, family.name, law.sentence, law.source, implied_by=law.implied_by, claim=law.claim)
        for law in family.laws
    ]
