"""Causes: what entries of a ledger have in common, as one would report it.  Several entries may have the same cause.

A cause is a bug of some severity.  What upstream documents otherwise, or never promised, is none: there the law is at fault.
"""

import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from packaging.version import VERSION_PATTERN

from embcheck.core.facts import closest
from embcheck.core.typed import Malformed, built

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

#: The severities, the worst first, each in words.
SEVERITIES = {
    "silent-wrong": "silently wrong",
    "memory": "reads or writes memory that is not its own, or that nobody wrote",
    "crash": "the process dies or hangs",
    "raises": "raises where it should work",
    "message": "a missing check, an error of another type, or a tensor without elements",
}
SILENT = "silent-wrong"
#: A snippet must be read at a glance.
SNIPPET_LINES = 6

_REPORT = re.compile(r"[\w./-]+#\d+: \S.*")
_RELEASES = ("since", "fixed", "seen")
_RELEASE = re.compile(VERSION_PATTERN, re.VERBOSE | re.IGNORECASE)


class LedgerError(ValueError):
    """A ledger that can't be read; the message names the file, the entry and what would be right."""


@dataclass(frozen=True)
class Cause:
    """What is wrong, in one sentence, and in which function.

    ``upstream`` has the issues and pull requests that describe it, each with its title; ``searched`` is the day on which
    it was looked for there.  ``since`` and ``fixed`` are releases, if the very ones are known: what the witnesses showed
    is kept elsewhere.  ``umbrella`` is an issue under which upstream collects such bugs.  ``snippet`` shows the cause in a
    few lines, of which the last is an assertion that fails.
    """

    name: str
    title: str
    api: str
    severity: str = ""
    upstream: tuple[str, ...] = ()
    searched: date | None = None
    since: str = ""
    fixed: str = ""
    umbrella: str = ""
    snippet: str = ""

    @property
    def reports(self) -> str:
        """The reports without their titles."""
        return ", ".join(text.partition(":")[0] for text in self.upstream)

    @property
    def reported(self) -> str:
        """Where it was reported, or when that was looked for in vain."""
        if self.upstream:
            return "; ".join(self.upstream)
        return f"no report found on {self.searched}" if self.searched else "not looked for"


@dataclass(frozen=True, kw_only=True)
class ModelCause(Cause):
    """A cause in a library of models: ``where`` has the classes that have it, ``reason`` says why it happens, ``fix`` what
    would mend it, and ``seen`` is the library's release with which the script was seen to end with 1."""

    where: tuple[str, ...]
    reason: str
    fix: str
    seen: str

    def __post_init__(self) -> None:
        if not all(name.isidentifier() for name in self.where):
            raise Malformed("where must be a list of texts such as 'BertForMaskedLM'")


AnyCause = TypeVar("AnyCause", bound=Cause)


def by_severity(causes: Iterable[AnyCause]) -> list[AnyCause]:
    """The most severe first; of one severity in the order in which they are given."""
    places = [*SEVERITIES, ""]
    return sorted(causes, key=lambda cause: places.index(cause.severity))


def summed_up(causes: Iterable[Cause], command: str = "embcheck known") -> str:
    """How many causes there are, how many of them are silently wrong, and the command that tells more; empty for none."""
    severities = [cause.severity for cause in causes]
    number, silent = len(severities), severities.count(SILENT)
    told = f"{number:,} known {'cause' if number == 1 else 'causes'}"
    about = f"{silent} {SEVERITIES[SILENT]}; " if silent else ""
    return f"{told} ({about}{command})" if number else ""


def toml(path: Path) -> dict[str, Any]:
    """What a TOML file says.

    Raises:
        LedgerError: for a file that can't be read, or that is no TOML.
    """
    try:
        return parsed(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LedgerError(f"ledger {path}: can't be read ({error.strerror})") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise LedgerError(f"ledger {path}: not TOML: {error}") from error


#: What texts say; the shipped ledger's takes a quarter of a second to read.
parsed = lru_cache(maxsize=8)(tomllib.loads)


def causes_in(tables: Any, place: str, kind: type[AnyCause]) -> dict[str, AnyCause]:
    """The causes of a kind by name, of what a ledger has under ``cause``.

    Raises:
        LedgerError: for what is no table, an unknown or missing field, or a value that says nothing.
    """
    if not isinstance(tables, Mapping) or not all(isinstance(raw, Mapping) for raw in tables.values()):
        raise LedgerError(f"{place}: cause is no table of tables; causes are [cause.NAME] tables")
    return {name: _cause(name, raw, f"{place}, cause {name}", kind) for name, raw in tables.items()}


def _cause(name: str, raw: Mapping[str, Any], place: str, kind: type[AnyCause]) -> AnyCause:
    try:
        made = built(kind, {**raw, "name": name})
    except Malformed as error:
        raise LedgerError(f"{place}: {error}") from None
    for field in _RELEASES:
        if (given := getattr(made, field, "")) and not _RELEASE.fullmatch(given):
            raise LedgerError(f"{place}: {field} must be a release, such as 2.15.0, not {given!r}")
    if not (made.title and made.api):
        raise LedgerError(f"{place}: {'api' if made.title else 'title'} is missing")
    if made.severity not in SEVERITIES:
        hint = closest(made.severity, SEVERITIES) or f"there are {', '.join(SEVERITIES)}"
        raise LedgerError(f"{place}: no severity {made.severity!r}; {hint}")
    for text in made.upstream:
        if not _REPORT.fullmatch(text):
            raise LedgerError(f"{place}: upstream: expected texts such as 'pytorch#1: It fails', not {text!r}")
    snippet = made.snippet.strip()
    if snippet and not (snippet.count("\n") < SNIPPET_LINES and snippet.split("\n")[-1].startswith("assert ")):
        raise LedgerError(f"{place}: snippet must have at most {SNIPPET_LINES} lines, the last an assertion")
    return replace(made, snippet=snippet)
