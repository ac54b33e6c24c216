"""What the shell completes: names of laws and modes, and the choices of an option.

They are read off the sources as text, since a shell asks at each press of a key, and importing torch takes seconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from embcheck.core.options import COMMAND, Option, options_of

_PACKAGE = Path(__file__).parents[1]
_LAW = re.compile(r"^@(?:\w+\.)?law\(.*?^def (\w+)\(", re.MULTILINE | re.DOTALL)
_FAMILY = re.compile(r"^\w+ = Family\(\s*\"(\w+)\"", re.MULTILINE)
_MODE = re.compile(r"^(?:@mode|@build_mode|add_mode|compile_mode)\(\s*\"(\w+)\"", re.MULTILINE)


def law_names() -> list[str]:
    """The laws, but for those of claims, which are named by their verdicts: `embcheck claims --show` takes a claim."""
    from embcheck.subject.collect import files_of_laws

    files = files_of_laws()
    return sorted([*_found(_LAW, files), *(f"{family}_is_accepted" for family in _found(_FAMILY, files))])


def mode_names(incomplete: str) -> list[str]:
    """The modes, each behind those that are given already, with commas between."""
    given, comma, _ = incomplete.rpartition(",")
    names = _found(_MODE, (_PACKAGE / "modes").glob("*.py"))
    return [given + comma + name for name in ([] if given else ["all"]) + names if name not in given.split(",")]


def profile_names() -> list[str]:
    return list(options_of(COMMAND)["profile"].choices)


#: Of the options whose values are names.
_NAMES: dict[str, Callable[..., list[str]]] = {"law": law_names, "mode": mode_names}


def completion_of(option: Option) -> Callable[..., list[str]] | None:
    """What completes an option's value; None where it may be anything, or the shell completes paths."""
    return (lambda: list(option.choices)) if option.choices else _NAMES.get(option.name)


def _found(pattern: re.Pattern[str], files: Iterable[Path]) -> list[str]:
    return sorted({name for path in files for name in pattern.findall(path.read_text(encoding="utf-8"))})
