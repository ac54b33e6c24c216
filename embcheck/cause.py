"""Causes: what entries of a ledger have in common, as one would report it.  Several entries may have the same cause.

A cause is a bug of some severity, or what upstream documents or never promised: that is ``by_design``, in the document's
words, and is counted apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from packaging.version import InvalidVersion, Version

from embcheck.facts import closest

#: The severities, the worst first, each in words.
SEVERITIES = {
    "silent-wrong": "silently wrong",
    "memory": "reads or writes memory that is not its own, or that nobody wrote",
    "crash": "the process dies or hangs",
    "raises": "raises where it should work",
    "message": "a missing check, an error of another type, or a tensor without elements",
}
SILENT = "silent-wrong"
BY_DESIGN = "by design"
#: A snippet must be read at a glance.
SNIPPET_LINES = 6

_ISSUE = re.compile(r"[\w./-]+#\d+: \S.*")
_TEXTS = ("title", "api", "severity", "by_design", "since", "fixed", "umbrella", "snippet")
_FIELDS = (*_TEXTS, "upstream", "searched")


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
    by_design: str = ""
    upstream: tuple[str, ...] = ()
    searched: date | None = None
    since: str = ""
    fixed: str = ""
    umbrella: str = ""
    snippet: str = ""

    @property
    def sort(self) -> str:
        """The severity, or ``by design``; empty where nothing is said."""
        return self.severity or (BY_DESIGN if self.by_design else "")

    @property
    def reported(self) -> str:
        """Where it was reported, or when that was looked for in vain."""
        if self.upstream:
            return "; ".join(self.upstream)
        return f"no report found on {self.searched}" if self.searched else "not looked for"


def by_severity(causes: Iterable[Cause]) -> list[Cause]:
    """The most severe first, what is by design last; of one severity in the order in which they are given."""
    places = [*SEVERITIES, "", BY_DESIGN]
    return sorted(causes, key=lambda cause: places.index(cause.sort))


def summed_up(causes: Iterable[Cause]) -> str:
    """How many causes there are and how many of them are silently wrong, those by design apart; empty for none."""
    sorts = [cause.sort for cause in causes]
    design, silent = sorts.count(BY_DESIGN), sorts.count(SILENT)
    number = len(sorts) - design
    told = f"{number:,} known {'cause' if number == 1 else 'causes'}"
    about = f"{silent} {SEVERITIES[SILENT]}; " if silent else ""
    return f"{told} ({about}embcheck known)" + (f", {design} {BY_DESIGN}" if design else "") if sorts else ""


def causes_in(tables: Any, place: str) -> dict[str, Cause]:
    """The causes by name, of what a ledger has under ``cause``.

    Raises:
        LedgerError: for what is no table, an unknown or missing field, or a value that says nothing.
    """
    if not isinstance(tables, Mapping) or not all(isinstance(raw, Mapping) for raw in tables.values()):
        raise LedgerError(f"{place}: cause is no table of tables; causes are [cause.NAME] tables")
    return {name: _cause(name, raw, f"{place}, cause {name}") for name, raw in tables.items()}


def _cause(name: str, raw: Mapping[str, Any], place: str) -> Cause:
    for field in raw:
        if field not in _FIELDS:
            raise LedgerError(
                f"{place}: no field {field!r}; {closest(field, _FIELDS) or 'there are ' + ', '.join(_FIELDS)}"
            )
    for field in ("title", "api"):
        if not raw.get(field):
            raise LedgerError(f"{place}: field {field} is missing")
    for field in _TEXTS:
        if not isinstance(raw.get(field, ""), str):
            raise LedgerError(f"{place}: {field} must be a text, not {raw[field]!r}")
    severity = raw.get("severity", "")
    if severity and severity not in SEVERITIES:
        hint = closest(severity, SEVERITIES) or f"there are {', '.join(SEVERITIES)}"
        raise LedgerError(f"{place}: no severity {severity!r}; {hint}")
    if bool(severity) == bool(raw.get("by_design")):
        raise LedgerError(f"{place}: it must have either a severity or by_design, with the words of the document")
    if type(raw.get("searched", date.min)) is not date:
        raise LedgerError(f"{place}: searched must be a date, such as 2026-11-23, not {raw['searched']!r}")
    snippet = raw.get("snippet", "").strip()
    if snippet and not (snippet.count("\n") < SNIPPET_LINES and snippet.split("\n")[-1].startswith("assert ")):
        raise LedgerError(f"{place}: snippet must have at most {SNIPPET_LINES} lines, the last an assertion")
    _check_releases(raw, place)
    return Cause(name, **{**raw, "snippet": snippet, "upstream": _upstream(raw.get("upstream", []), place)})


def _check_releases(raw: Mapping[str, Any], place: str) -> None:
    for field in ("since", "fixed"):
        try:
            Version(raw.get(field, "0"))
        except InvalidVersion:
            raise LedgerError(f"{place}: {field} must be a release, such as 2.15.0, not {raw[field]!r}") from None


def _upstream(listed: Any, place: str) -> tuple[str, ...]:
    for text in listed if isinstance(listed, list) else [listed]:
        if not isinstance(listed, list) or not isinstance(text, str) or not _ISSUE.fullmatch(text):
            raise LedgerError(f"{place}: upstream must be a list of texts such as 'pytorch#1: It fails', not {text!r}")
    return tuple(listed)
