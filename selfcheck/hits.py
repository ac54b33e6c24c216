"""On which cases a run of *full* with seed 0 saw each fault by hand, as data beside this module: where to look first.

Nothing is believed: each case is executed again, without the fault and with it.  Where one no longer breaks a law, the fault
meets the cases of the profile, as without this table.  ``python -m selfcheck.by_hand [FAMILY …]`` writes it anew.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from embcheck.core.axes import parse
from embcheck.core.files import write_whole
from embcheck.core.item import Item
from embcheck.core.law import Family
from embcheck.modes.mode import MODES

KEPT = Path(__file__).with_name("hits.json")
#: The run whose cases they are.
PROFILE, SEED = "full", 0


class Hit(NamedTuple):
    """A case, as a line, on which laws broke because of a fault."""

    family: str
    mode: str
    engine: str
    case: str
    laws: tuple[str, ...] = ()

    def candidate(self, family: Family) -> tuple[Item, Any] | None:
        """The item and the case; None if there is no such case any more, or this torch has not the mode."""
        try:
            case = family.space.repair(parse(self.case))
        except ValueError:
            return None
        if case is None or self.mode not in MODES or MODES[self.mode].lacking() is not None:
            return None
        return Item(self.family, "torch", self.mode, self.engine), case


def load() -> dict[str, list[Hit]]:
    """The hits of each fault."""
    found = json.loads(KEPT.read_text(encoding="utf-8")) if KEPT.is_file() else {}
    return {fault: [Hit(*each) for each in hits] for fault, hits in found.items()}


def keep(found: Mapping[str, Sequence[Hit]]) -> None:
    """Writes the hits of some faults; those of others stay."""
    every = load() | dict(found)
    lines = [
        f"{json.dumps(fault)}: {json.dumps([each[:4] for each in hits], ensure_ascii=False)}"
        for fault, hits in sorted(every.items())
        if hits
    ]
    write_whole(KEPT, "{\n" + ",\n".join(lines) + "\n}\n")
