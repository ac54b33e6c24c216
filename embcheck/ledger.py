"""The ledger: violations that are known, each with its region, a witness and a reason.

An entry excuses a violation only where *all* of these hold: the law, the mode, the torch release, and its region, a
conjunction over the case's facts.  Known is not blind: a witness that no longer fails makes the entry stale, and a
stale entry fails the run.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from embcheck.axes import Axes, parse

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SHIPPED = Path(__file__).with_name("ledger.toml")


class LedgerError(ValueError):
    """A ledger that can't be read; the message names the file, the entry and what would be right."""


@dataclass(frozen=True)
class Entry:
    """A known violation.

    ``where`` maps a fact to the value it has in the region, or to a list of them.  ``kind`` narrows the entry to one
    kind of difference.  ``excluded`` cases are not executed at all: for what would take the process down.
    """

    law: str
    where: Mapping[str, Any]
    witness: str
    reason: str
    name: str
    mode: str = "*"
    torch: SpecifierSet = field(default_factory=SpecifierSet)
    device: str = "*"
    kind: str = "*"
    link: str = ""
    expires: date | None = None
    excluded: bool = False

    @property
    def case(self) -> Axes:
        """The witness.

        Raises:
            LedgerError: if it builds no case, or one that lies outside the entry's own region.
        """
        try:
            case = parse(self.witness)
        except ValueError as error:
            raise LedgerError(f"ledger entry {self.name}: {error}") from error
        facts = case.facts()
        missing = set(self.where) - set(facts)
        if missing:
            known = ", ".join(sorted(facts))
            raise LedgerError(f"ledger entry {self.name}: no fact {', '.join(sorted(missing))}; there are {known}")
        if not self.covers(facts):
            raise LedgerError(f"ledger entry {self.name}: the witness lies outside the entry's own region")
        return case

    def concerns(self, law: str, mode: str, device: str) -> bool:
        """Whether the entry speaks of a law in a mode on a device; names may end in ``*``; of modes
        there may be several, with commas between."""
        if not fnmatchcase(law, self.law) or not fnmatchcase(device, self.device):
            return False
        return any(fnmatchcase(mode, pattern.strip()) for pattern in self.mode.split(","))

    def runs_in(self, modes: Iterable[str]) -> bool:
        """Whether the entry speaks of one of these modes, so that a run in them shows its witness."""
        return any(fnmatchcase(mode, pattern.strip()) for pattern in self.mode.split(",") for mode in modes)

    def covers(self, facts: Mapping[str, Any]) -> bool:
        """Whether a case with these facts lies in the region."""
        return all(_among(facts.get(name, _NO_FACT), wanted) for name, wanted in self.where.items())


_NO_FACT = object()


def _among(fact: Any, wanted: Any) -> bool:
    values = wanted if isinstance(wanted, list) else [wanted]
    return any(type(fact) is type(value) and fact == value for value in values)


@dataclass(frozen=True)
class Ledger:
    """The entries that are in force for one torch release, and those that speak of others only."""

    entries: tuple[Entry, ...] = ()
    elsewhere: tuple[Entry, ...] = ()

    def find(self, law: str, mode: str, device: str, kind: str, facts: Mapping[str, Any]) -> Entry | None:
        """The first entry that excuses a violation of this kind on a case with these facts."""
        for entry in self.entries:
            if entry.concerns(law, mode, device) and fnmatchcase(kind, entry.kind) and entry.covers(facts):
                return entry
        return None

    def excludes(self, laws: Iterable[str], mode: str, device: str) -> tuple[Entry, ...]:
        """The entries whose cases must not even be executed, among those that concern any of these laws."""
        return tuple(e for e in self.entries if e.excluded and any(e.concerns(law, mode, device) for law in laws))


_REQUIRED = ("law", "where", "witness", "reason")
_FIELDS = {*_REQUIRED, "name", "mode", "torch", "device", "kind", "link", "expires", "excluded"}
#: What a field that is no text must be.
_KINDS: dict[str, tuple[type, str]] = {
    "where": (dict, "a table of facts, such as { sparse = true }"),
    "expires": (date, "a date, such as 2027-06-01"),
    "excluded": (bool, "true or false"),
}


def load(path: Path, torch_version: str, today: date) -> Ledger:
    """The entries of a ledger file that are in force for a release.

    Raises:
        LedgerError: as `read` does, or for an entry past its date.
    """
    release = Version(Version(torch_version).base_version)
    entries = read(path)
    for entry in entries:
        if entry.expires is not None and entry.expires < today and release in entry.torch:
            raise LedgerError(f"ledger {path}: {entry.name} expired on {entry.expires}; look again and set a new date")
    in_force = tuple(entry for entry in entries if entry.torch.contains(release, prereleases=True))
    return Ledger(in_force, tuple(entry for entry in entries if entry not in in_force))


def read(path: Path) -> tuple[Entry, ...]:
    """All entries of a ledger file, whichever release they speak of.

    Raises:
        LedgerError: for a file that can't be read, a syntax error, an unknown or missing field, a name that is taken,
            or a witness that is no expression.  Whether a witness builds a case is seen when it is run, since the
            case types are the laws' own.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise LedgerError(f"ledger {path}: can't be read ({error.strerror})") from error
    except ValueError as error:  # no TOML, or no UTF-8
        raise LedgerError(f"ledger {path}: not TOML: {error}") from error
    unknown = set(data) - {"known"}
    if unknown:
        raise LedgerError(f"ledger {path}: unknown table {', '.join(sorted(unknown))}; entries are [[known]] tables")
    known = data.get("known", [])
    if not isinstance(known, list) or not all(isinstance(raw, dict) for raw in known):
        raise LedgerError(f"ledger {path}: known is no list of tables; entries are [[known]] tables")
    entries = tuple(_entry(raw, f"ledger {path}, entry {number}") for number, raw in enumerate(known, 1))
    twice = sorted(name for name, count in Counter(entry.name for entry in entries).items() if count > 1)
    if twice:
        raise LedgerError(f"ledger {path}: two entries are called {', '.join(twice)}; each needs a name of its own")
    return entries


def _entry(raw: Mapping[str, Any], place: str) -> Entry:
    unknown = set(raw) - _FIELDS
    if unknown:
        names = ", ".join(sorted(_FIELDS))
        raise LedgerError(f"{place}: unknown field {', '.join(sorted(unknown))}; there are {names}")
    for name in _REQUIRED:
        if name not in raw:
            raise LedgerError(f"{place}: field {name} is missing")
    for name, value in raw.items():
        kind, words = _KINDS.get(name, (str, "a text"))
        if type(value) is not kind:
            raise LedgerError(f"{place}: {name} must be {words}, not {value!r}")
    if not raw["reason"].strip():
        raise LedgerError(f"{place}: the reason is empty; say why this is known")
    try:
        ast.parse(raw["witness"], mode="eval")
        specifier = SpecifierSet(raw.get("torch", ""))
    except (SyntaxError, ValueError) as error:  # a specifier that is none is a ValueError
        raise LedgerError(f"{place}: {error}") from error
    return Entry(**{**raw, "name": raw.get("name", place), "torch": specifier})
