"""In which releases the causes' scripts fail, as ``embcheck since --known`` found by running each in each.

``tried.json`` beside this file keeps, by cause, the script's digest and its exit status in each release.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.version import Version

from embcheck.files import write_whole
from embcheck.releases.bisect import turns
from embcheck.releases.trial import Outcome

KEPT = Path(__file__).with_name("tried.json")


@dataclass(frozen=True)
class Tried:
    """The digest of a script, and how it ended in each release: 1 fails, 0 right, anything else or None undecided."""

    script: str
    releases: dict[str, int | None] = field(default_factory=dict)

    @property
    def since(self) -> str:
        """The first release that fails, in words; empty if none does."""
        names, outcomes = self._line()
        decided = [number for number, outcome in outcomes.items() if outcome is not Outcome.UNDECIDED]
        first = next((number for number in decided if outcomes[number] is Outcome.FAILS), None)
        if first is None:
            return ""
        before = [number for number in decided if number < first]
        return f"{names[first]} ({names[before[-1]]} is right)" if before else f"{names[first]} or before"

    @property
    def fixed(self) -> str:
        """The first release that is right again after the last that fails, in words; empty if there is none."""
        names, outcomes = self._line()
        last = [turn for turn in turns(outcomes) if outcomes[turn.first_after] is Outcome.RIGHT][-1:]
        ended = [turn for turn in last if Outcome.FAILS not in list(outcomes.values())[turn.first_after :]]
        return "".join(f"{names[turn.first_after]} ({names[turn.last_before]} fails)" for turn in ended)

    def _line(self) -> tuple[list[str], dict[int, Outcome]]:
        """The releases from old to new, and by their places what the script said."""
        names = sorted(self.releases, key=Version)
        return names, {number: Outcome.of(self.releases[name], "") for number, name in enumerate(names)}


def digest(script: str) -> str:
    """What tells one text of a script from another."""
    return hashlib.blake2b(script.encode(), digest_size=6).hexdigest()


def kept(path: Path = KEPT) -> dict[str, Tried]:
    """What is known, by the causes' names."""
    data = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return {name: Tried(**found) for name, found in data.items()}


def keep(found: Mapping[str, Tried], path: Path = KEPT) -> None:
    """Writes it, one after the other by name, the releases from old to new."""
    data = {name: asdict(found[name]) for name in sorted(found)}
    for each in data.values():
        each["releases"] = {name: each["releases"][name] for name in sorted(each["releases"], key=Version)}
    write_whole(path, json.dumps(data, indent=1) + "\n")


def updated(
    before: Mapping[str, Tried], scripts: Mapping[str, str], release: str, statuses: Mapping[str, int | None]
) -> dict[str, Tried]:
    """What is known, with how the scripts ended in a release; of a script that was changed only what is new."""
    found = {}
    for name, script in scripts.items():
        held = before.get(name)
        known = held.releases if held is not None and held.script == digest(script) else {}
        found[name] = Tried(digest(script), {**known, **({release: statuses[name]} if name in statuses else {})})
    return found
