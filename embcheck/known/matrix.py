"""What releases, and machines with them, make of each cause: from what its witnesses told."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from packaging.version import Version

from embcheck.core.ledger import Entry
from embcheck.known.recorded import Recorded

#: What a cell says: all witnesses of the cause fail, all pass, some fail, none was run, or all fail on some machines only.
WRONG, RIGHT, MIXED, UNKNOWN, SOME_MACHINES = "✗", "✓", "✗✓", "·", "✗ᵐ"
LEGEND = (
    f"{WRONG} wrong, {RIGHT} right, {MIXED} some of its entries are right, {UNKNOWN} not run, {SOME_MACHINES} wrong on some "
    "machines only (see its page)"
)


class Column(NamedTuple):
    """A release, and a level of CPUs on which all witnesses were run with it, if that is known."""

    release: str
    level: str = ""

    def __str__(self) -> str:
        return f"{self.release} {self.level}".strip()


def columns(entries: Iterable[Entry], recorded: Mapping[str, Recorded]) -> list[Column]:
    """The releases with which most witnesses were run, in order; one with the levels on which they were has one for each."""
    run = [recorded[entry.name].releases for entry in entries if entry.name in recorded]
    counts = {release: sum(release in each for each in run) for release in {r for each in run for r in each}}
    levels = {release: found for entry in entries for release, found in (entry.measured or {}).items()}
    return [
        Column(release, level)
        for release in sorted((r for r, count in counts.items() if 2 * count > len(run)), key=Version)
        for level in sorted(levels.get(release, [""]), key=lambda level: (level != "DEFAULT", level))
    ]


def cell(column: Column, entries: Sequence[Entry], recorded: Mapping[str, Recorded]) -> str:
    """What the witnesses of a cause's entries showed there."""
    words = set()
    for entry in entries:
        if column.level and column.level not in (entry.measured or {}).get(column.release, ()):
            continue
        word = recorded.get(entry.name, Recorded(entry.witness)).releases.get(column.release)
        if word is not None:
            words.add(RIGHT if word == "right" else SOME_MACHINES if entry.machine else WRONG)
    return words.pop() if len(words) == 1 else MIXED if words else UNKNOWN
