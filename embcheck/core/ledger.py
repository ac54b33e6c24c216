"""The ledger: violations that are known, each with its region, a witness and a reason.

An entry excuses a violation only where *all* of these hold: the law, the mode, the torch release, and its region, a
conjunction over the case's facts.  Known is not blind: a witness that no longer fails makes the entry stale, and a
stale entry fails the run.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from embcheck.core import aliases
from embcheck.core.axes import Axes, parse
from embcheck.core.cause import Cause, causes_in, toml
from embcheck.core.cause import LedgerError as LedgerError  # those who read a ledger catch it
from embcheck.core.declaration import is_subject
from embcheck.core.facts import UnknownFact, closest, require
from embcheck.core.machine import PROVED, Machine
from embcheck.core.result import Difference
from embcheck.core.typed import Malformed, built
from embcheck.core.wrong_results import Instead, is_known, misnamed

SHIPPED = Path(__file__).with_name("ledger.toml")
#: How the reason begins of an entry whose witness passes where it was never measured.
SEEMS_FIXED = "seems fixed here"


@dataclass(frozen=True)
class Entry:
    """A known violation.

    ``where`` maps a fact to the value it has in the region, or to a list of them.  ``kind`` narrows the entry to some
    kinds of difference, with commas between, and ``instead`` to what torch is known to give where it differs, or to a
    table of that for each observation that may differ.
    ``excluded`` cases are not executed at all: for what would take the process down.  ``machine`` maps what a machine
    proved of itself, such as onednn_kernel, to a pattern or a list of them: the entry speaks of those machines only.
    ``measured`` has the releases on which the witness was run, each with the capabilities, such as AVX2, of the machines:
    if it is None, all.  ``cause`` names what it has in common with other entries.
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
    instead: Instead = ""
    link: str = ""
    expires: date | None = None
    excluded: bool = False
    machine: Mapping[str, str | list[str]] = field(default_factory=dict)
    measured: Mapping[str, list[str]] | None = None
    cause: str = ""

    @property
    def case(self) -> Axes:
        """The witness.

        Raises:
            LedgerError: if it builds no case, or one that lies outside the entry's own region, or has no such fact.
        """
        try:
            case = parse(self.witness)
        except ValueError as error:
            raise LedgerError(f"ledger entry {self.name}: {error}") from error
        facts = case.facts()
        try:
            require(self.where, facts, f"ledger entry {self.name}")
        except UnknownFact as error:
            raise LedgerError(str(error)) from None
        if not self.covers(facts):
            raise LedgerError(f"ledger entry {self.name}: the witness lies outside the entry's own region")
        return case

    @property
    def region(self) -> str:
        """The facts of the cases that it excuses, in words."""
        return ", ".join(f"{name} = {value!r}" for name, value in self.where.items()) or "every case"

    @property
    def subject(self) -> str:
        """The layer of a user's whose cases are the region; empty if it is about torch itself."""
        return next((value for value in self.where.values() if isinstance(value, str) and is_subject(value)), "")

    @property
    def of_other_releases(self) -> bool:
        """Whether it speaks of none of the releases on which witnesses were run; the cases that oblige are chosen on these."""
        measured = self.measured or ()
        return bool(measured) and not any(self.torch.contains(release) for release in measured)

    @property
    def of_numbers_around(self) -> bool:
        """Whether it excuses what NaN and infinity around a tensor do on some machines, and finite numbers there don't."""
        return bool(self.machine) and self.instead == "no number"

    def concerns(self, law: str, mode: str, device: str) -> bool:
        """Whether the entry speaks of a law in a mode on a device; names may end in ``*``; of laws and modes
        there may be several, with commas between."""
        kind, colon, _ = mode.partition(":")
        modes = (mode, *_BENEATH[kind]) if colon else (mode,)
        return self.speaks_of(law) and self.runs_on(device) and self.runs_in(modes)

    def speaks_of(self, law: str) -> bool:
        """Whether the entry speaks of a law, by its name or by the one that it had before."""
        return _speaks(self.law, law)

    def runs_in(self, modes: Iterable[str]) -> bool:
        """Whether the entry speaks of one of these modes, so that a run in them shows its witness."""
        return any(_fits(mode, self.mode) for mode in modes)

    def runs_on(self, device: str) -> bool:
        """Whether the entry speaks of a device, so that a run on it shows its witness."""
        return fnmatchcase(device, self.device)

    def excuses(self, found: Difference, case: Any) -> bool:
        return _fits(found.kind, self.kind) and is_known(self.instead, case, found)

    def unmeasured(self, torch_version: str, capability: str) -> str:
        """That the entry was never measured on a release or on such a machine, in words; empty if it was."""
        release = Version(torch_version).base_version
        if self.measured is None or capability in self.measured.get(release, ()):
            return ""
        where = f"torch {release} with {capability}" if release in self.measured else f"torch {release}"
        return f"the entry was never measured on {where}"

    def covers(self, facts: Mapping[str, Any]) -> bool:
        return all(_among(facts.get(name, _NO_FACT), wanted) for name, wanted in self.where.items())

    def covers_case(self, case: Axes) -> bool:
        """Whether a case lies in the region; what follows from its axes is computed only where these may lie there: the fact
        of an axis' name is the axis, unless that is a tuple."""
        axes = ((getattr(case, name), wanted) for name, wanted in self.where.items() if name in case._fields)
        possible = all(isinstance(axis, tuple) or _among(axis, wanted) for axis, wanted in axes)
        return possible and self.covers(case.facts())


#: What makes a name a pattern.
_WILD = frozenset("*?[")


@lru_cache(maxsize=1 << 12)
def _patterns(text: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """The names in a text with commas between them, and those of them that are patterns."""
    found = [each for part in text.split(",") if (each := part.strip())]
    return frozenset(found), tuple(each for each in found if not _WILD.isdisjoint(each))


#: The modes whose known violations are those of a compiler backend of the user's too: what dynamo does before it is called, and
#: what AOTAutograd does by which most are called.
_BENEATH = {
    "compile": ("compile_eager", "aot_eager", "aot_decomposed"),
    "compile_no_grad": ("compile_no_grad", "aot_no_grad"),
}


def _fits(name: str, patterns: str) -> bool:
    names, wild = _patterns(patterns)
    return name in names or any(fnmatchcase(name, pattern) for pattern in wild)


@lru_cache(maxsize=1 << 17)
def _speaks(patterns: str, law: str) -> bool:
    return any(_fits(name, patterns) for name in aliases.names_of(law))


_NO_FACT = object()


def _among(fact: Any, wanted: Any) -> bool:
    """Whether a fact is what is wanted, or one of a list, and of its type."""
    values = wanted if isinstance(wanted, list) else [wanted]
    return any(type(fact) is type(value) and fact == value for value in values)


@dataclass(frozen=True)
class Ledger:
    """The entries that are in force for one torch release, and those that speak of others only.

    Those of ``some_machines`` excuse nothing until `on` has looked at the machine.
    """

    entries: tuple[Entry, ...] = ()
    elsewhere: tuple[Entry, ...] = ()
    some_machines: tuple[Entry, ...] = ()
    _concerned: dict[tuple[str, str, str], list[Entry]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def on(self, machine: Machine) -> Ledger:
        """The ledger on a machine: entries that speak of such machines are in force too."""
        unmet = tuple(entry for entry in self.some_machines if machine.unmet(entry.machine))
        met = tuple(entry for entry in self.some_machines if entry not in unmet)
        return Ledger(self.entries + met, self.elsewhere, unmet)

    def find(self, law: str, mode: str, device: str, found: Difference, case: Axes) -> Entry | None:
        """The first entry that excuses a difference on a case; it says nothing of the `Difference.others`."""
        concerned = self._concerned.get((law, mode, device))
        if concerned is None:
            concerned = [entry for entry in self.entries if entry.concerns(law, mode, device)]
            self._concerned[law, mode, device] = concerned
        return next((entry for entry in concerned if entry.covers_case(case) and entry.excuses(found, case)), None)

    def excuses(
        self, law: str, mode: str, device: str, found: Difference, case: Axes
    ) -> list[tuple[Difference, Entry | None]]:
        """Each of the differences that a law found on a case, see `Difference.apart`, with the entry that excuses it."""
        return [(each, self.find(law, mode, device, each, case)) for each in found.apart()]

    def excludes(self, laws: Iterable[str], mode: str, device: str) -> tuple[Entry, ...]:
        """The entries whose cases must not even be executed, among those that concern any of these laws."""
        return tuple(e for e in self.entries if e.excluded and any(e.concerns(law, mode, device) for law in laws))


def load(path: Path, torch_version: str, today: date) -> Ledger:
    """The entries of one ledger file; see `load_all`."""
    return load_all((path,), torch_version, today)


def load_all(paths: Iterable[Path | str], torch_version: str, today: date) -> Ledger:
    """The entries of ledger files together: those that are in force for a release, and the others.

    Raises:
        LedgerError: as `read` does, for an entry past its date, or for a name that is in two of the files.
    """
    release = Version(Version(torch_version).base_version)
    places: dict[str, Path] = {}
    kinds: dict[str, list[Entry]] = {"entries": [], "elsewhere": [], "some_machines": []}
    for path in dict.fromkeys(map(Path, paths)):
        for entry in (own := read(path)):
            if entry.expires is not None and entry.expires < today and release in entry.torch:
                words = f"{entry.name} expired on {entry.expires}; look again and set a new date"
                raise LedgerError(f"ledger {path}: {words}")
        for entry in own:
            other = places.setdefault(entry.name, path)
            if other != path:
                shipped = " (to replace the shipped ledger: --only-ledger)" if other == SHIPPED else ""
                raise LedgerError(f"ledger {path}: {entry.name} is in {other} too; give it another name{shipped}")
            here = entry.torch.contains(release, prereleases=True)
            kinds["elsewhere" if not here else "some_machines" if entry.machine else "entries"].append(entry)
    return Ledger(**{kind: tuple(found) for kind, found in kinds.items()})


def read(path: Path) -> tuple[Entry, ...]:
    """All entries of a ledger file, whichever release they speak of; see `read_all` for what it raises."""
    return read_all(path)[0]


def read_all(path: Path) -> tuple[tuple[Entry, ...], dict[str, Cause]]:
    """All entries of a ledger file, and its causes by name.

    An entry without a link of its own has the reports of its cause.

    Raises:
        LedgerError: for a file that can't be read, a syntax error, an unknown or missing field, a name that is taken,
            a cause that is none or that no entry has, or a witness that is no expression.  Whether a witness builds a case
            is seen when it is run, since the case types are the laws' own.
    """
    data = toml(path)
    if unknown := set(data) - {"known", "measured", "cause"}:
        raise LedgerError(f"ledger {path}: unknown table {', '.join(sorted(unknown))}; entries are [[known]] tables")
    causes = causes_in(data.get("cause", {}), f"ledger {path}", Cause)
    known = data.get("known", [])
    if not isinstance(known, list) or not all(isinstance(raw, dict) for raw in known):
        raise LedgerError(f"ledger {path}: known is no list of tables; entries are [[known]] tables")
    measured = {"measured": data["measured"]} if "measured" in data else {}
    entries = tuple(_entry(measured | raw, f"ledger {path}, entry {number}") for number, raw in enumerate(known, 1))
    if twice := sorted(name for name, count in Counter(entry.name for entry in entries).items() if count > 1):
        raise LedgerError(f"ledger {path}: two entries are called {', '.join(twice)}; each needs a name of its own")
    for entry in entries:
        if entry.cause and entry.cause not in causes:
            hint = closest(entry.cause, causes) or "causes are [cause.NAME] tables"
            raise LedgerError(f"ledger {path}: {entry.name}: no cause {entry.cause!r}; {hint}")
    if idle := sorted(causes.keys() - {entry.cause for entry in entries}):
        raise LedgerError(f"ledger {path}: no entry has the cause {', '.join(idle)}")
    reports = {name: "; ".join(cause.upstream) for name, cause in causes.items()}
    return tuple(replace(entry, link=entry.link or reports.get(entry.cause, "")) for entry in entries), causes


def check(entries: Iterable[Entry], laws: Collection[str] | None) -> None:
    """Sees to it that entries speak of ``laws``, if given, and of facts that there are; case types must have been loaded.

    Raises:
        LedgerError: for the first that does not, with what is close to it, or whose witness lies outside its region.
    """
    for entry in entries:
        if laws is not None and not any(entry.speaks_of(law) for law in laws):
            hint = closest(entry.law, laws) or "see `embcheck laws`"
            raise LedgerError(f"ledger entry {entry.name}: no law {entry.law!r}; {hint}")
        entry.case  # noqa: B018  (which raises)


def _entry(raw: Mapping[str, Any], place: str) -> Entry:
    try:
        torch = SpecifierSet(str(raw.get("torch", "")))
        entry = built(Entry, {"name": place, **raw, "torch": torch})
        ast.parse(entry.witness, mode="eval")
    except (Malformed, SyntaxError, ValueError) as error:  # a specifier that is none is a ValueError
        raise LedgerError(f"{place}: {error}") from None
    if not entry.reason.strip():
        raise LedgerError(f"{place}: the reason is empty; say why this is known")
    if unproved := sorted(entry.machine.keys() - {*PROVED}):
        raise LedgerError(f"{place}: a machine proves no {unproved[0]}; it proves {', '.join(PROVED)}")
    if (wrong := misnamed(entry.instead)) is not None:
        raise LedgerError(f"{place}: instead: nothing is called {wrong}")
    return replace(entry, where={aliases.axis(name): value for name, value in entry.where.items()})
