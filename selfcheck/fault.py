"""Planted faults: wrong implementations with which the laws are put to the test.

A fault is planted into the library that is running, in its dispatcher or in a Python entry point, for the length of
a ``with`` block.  A kill counts if the law holds whenever the fault is lifted and is violated again when it is back.
A *control* is the same machinery with nothing wrong in it, which must survive: it shows that the laws kill the fault
and not the way in which it was planted.
"""

import importlib
import pkgutil
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any
from unittest import mock

Plant = Callable[[], AbstractContextManager[None]]
Applies = Callable[[], bool]


@dataclass(frozen=True)
class Fault:
    """A wrong implementation; laws of ``family`` and of each further one in ``also`` must see it.

    It lives in ``modes``, by default in the family's own.
    ``control`` marks machinery without a fault, ``applies`` tells whether this release has what the fault spoils.
    """

    name: str
    family: str
    sentence: str
    plant: Plant
    control: bool = False
    applies: Applies = lambda: True
    modes: tuple[str, ...] = ()
    also: tuple[str, ...] = ()


FAULTS: dict[str, Fault] = {}


def add(found: Fault) -> Fault:
    """Registers a fault; a ValueError if its name is taken."""
    if found.name in FAULTS:
        raise ValueError(f"there are two faults {found.name!r}")
    FAULTS[found.name] = found
    return found


def load_faults() -> dict[str, Fault]:
    """All faults by name, after importing every module of `selfcheck.faults`."""
    package = importlib.import_module("selfcheck.faults")
    for module in sorted(info.name for info in pkgutil.iter_modules(package.__path__)):
        importlib.import_module(f"selfcheck.faults.{module}")
    return dict(FAULTS)


def planting(name: str) -> AbstractContextManager[None]:
    """The fault of this name while it is planted: what another process enters before it executes a case."""
    return load_faults()[name].plant()


def patched(owner: Any, **replacements: Any) -> AbstractContextManager[Any]:
    """Attributes of a class or module replaced, and put back as they were: one that is only inherited is not copied."""
    changed: AbstractContextManager[Any] = mock.patch.multiple(owner, **replacements)
    return changed
