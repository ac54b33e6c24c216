"""Which of a run's items handed over their verdicts, and why the others did not.

Silence is no verdict: an item that was selected and of which nothing came is named, with the reason, in the record's
footer, in every report, and in the exit code.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from embcheck.core.facts import first_of, grouped
from embcheck.core.files import write_whole
from embcheck.core.typed import visible

#: The file in a run's folder in which a worker notes what it collected: every worker collects the same.
_FILE = "selection.json"
#: What pytest gives no node id: a file of laws outside of its root directory.
_OUTSIDE = "a file outside of the root directory"


@dataclass(frozen=True)
class Selection:
    """The items that a process runs, by their tests' node ids, and a fingerprint of all that were selected before they
    were split into shards."""

    items: dict[str, str] = field(default_factory=dict)
    digest: str = ""

    @classmethod
    def of(cls, labels: Mapping[str, str]) -> Selection:
        body = "\n".join(sorted(labels.values())).encode()
        return cls(dict(labels), hashlib.blake2b(body, digest_size=8).hexdigest() if labels else "")

    def only(self, nodeids: Iterable[str]) -> Selection:
        """A shard of it."""
        return Selection({name: self.items[name] for name in nodeids if name in self.items}, self.digest)

    def write(self, folder: Path) -> None:
        write_whole(folder / _FILE, json.dumps({"items": self.items, "digest": self.digest}))

    @classmethod
    def read(cls, folder: Path) -> Selection:
        """What workers noted; empty if none came so far."""
        path = folder / _FILE
        return cls(**json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else cls()


@dataclass
class Account:
    """What became of the selected items; ``reasons`` are those of reports without a verdict, by node id."""

    selection: Selection = field(default_factory=Selection)
    done: set[str] = field(default_factory=set)
    reasons: dict[str, str] = field(default_factory=dict)
    #: Those that were skipped: a test beside the laws may be.
    skipped: set[str] = field(default_factory=set)

    def failed(self, nodeid: str, longrepr: Any) -> None:
        """A test, or a file's collection, that ended without a verdict; its first reason is kept."""
        self.reasons.setdefault(nodeid or _OUTSIDE, reason_of(longrepr))

    def others(self) -> int:
        """How many tests failed that are no items of embcheck's."""
        return sum(
            "::" in nodeid and nodeid not in self.selection.items for nodeid in self.reasons.keys() - self.skipped
        )

    def unaccounted(self) -> dict[str, str]:
        """What was selected and is not accounted for, each with its reason: items by their labels, files by their
        names.  Tests that are no items of embcheck's are not among them."""
        found = {
            label: self.reasons.get(nodeid, "it did not run")
            for nodeid, label in self.selection.items.items()
            if nodeid in self.reasons or nodeid not in self.done
        }
        # A file that can't be collected has no items that could be missed.
        files = {nodeid: reason for nodeid, reason in self.reasons.items() if "::" not in nodeid}
        return found | {nodeid.rpartition("/")[2]: reason for nodeid, reason in files.items()}

    def cut_short(self) -> dict[str, tuple[int, int]]:
        """The families of which a selected item gave no verdict: how many of the items did, and how many there are.  Those of which
        some did come first: reports have a row for them."""
        labels = [label for label in self.selection.items.values() if "/" in label]  # of witnesses there is no family
        missing = self.unaccounted().keys() & labels
        missed, every = (Counter(label.partition("/")[0] for label in each) for each in (missing, labels))
        found = {name: (count - missed[name], count) for name, count in every.items() if missed[name]}
        return dict(sorted(found.items(), key=lambda each: not each[1][0]))


def reason_of(longrepr: Any) -> str:
    """Why a report failed, in one line."""
    crash = getattr(longrepr, "reprcrash", None)
    text = str(crash.message if crash is not None else longrepr[2] if isinstance(longrepr, tuple) else longrepr)
    lines = [line.removeprefix("E  ").strip() for line in text.strip().splitlines()]
    line = lines[0 if crash is not None else -1] if lines else "an error without a message"
    if crash is None and line.startswith("worker ") and " crashed while running " in line:
        return "its worker died before its first case"
    return visible(line[:400])


def told_by_reason(unaccounted: Mapping[str, str], shown: int = 5) -> list[str]:
    """A line for each reason, with the items that it holds for; the record names all of them."""
    by_reason = grouped(unaccounted, lambda item: unaccounted[item])
    return [f"{first_of(items, shown)}: {reason}" for reason, items in by_reason.items()]
