"""In which releases the causes' scripts fail, as ``embcheck since --known`` found by running each in each.

``tried.json`` beside this file keeps, by cause, the script's digest and its exit status in each release.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from packaging.version import Version

from embcheck.core.files import write_whole

KEPT = Path(__file__).with_name("tried.json")


@dataclass(frozen=True)
class Tried:
    """The digest of a script, and how it ended in each release: 1 fails, 0 right, anything else or None undecided."""

    script: str
    releases: dict[str, int | None] = field(default_factory=dict)

    @property
    def since(self) -> str:
        """The first release that fails, in words; empty if none does."""
        decided = self.decided
        first = next((k for k, (_, fails) in enumerate(decided) if fails), None)
        if first is None:
            return ""
        return f"{decided[first][0]} (right with {decided[first - 1][0]})" if first else f"{decided[0][0]} or before"

    @property
    def fixed(self) -> str:
        """The first release that is right again after the last that fails, in words; empty if there is none."""
        decided = self.decided
        last = max((k for k, (_, fails) in enumerate(decided) if fails), default=len(decided))
        return f"{decided[last + 1][0]} (wrong with {decided[last][0]})" if last + 1 < len(decided) else ""

    @property
    def decided(self) -> list[tuple[str, bool]]:
        """The releases that can decide it, from old to new, each with whether it fails."""
        names = sorted(self.releases, key=Version)
        return [(name, bool(self.releases[name])) for name in names if self.releases[name] in (0, 1)]


def digest(script: str) -> str:
    """What tells one text of a script from another."""
    return hashlib.blake2b(script.encode(), digest_size=6).hexdigest()


def kept(path: Path = KEPT) -> dict[str, Tried]:
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
