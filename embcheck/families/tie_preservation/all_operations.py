"""All operations on a tied model, in the order in which they are enumerated."""

from __future__ import annotations

from embcheck.core.registry import named
from embcheck.families.tie_preservation.executions import EXECUTING
from embcheck.families.tie_preservation.operations import COPYING, LEAVING, Entry
from embcheck.families.tie_preservation.rewriting import BREAKING, REWRITING, TYING
from embcheck.families.tie_preservation.training import TRAINING

OPERATIONS: dict[str, Entry] = {**LEAVING, **COPYING, **EXECUTING, **BREAKING, **TYING, **REWRITING, **TRAINING}
named({name: entry.act for name, entry in OPERATIONS.items()})
#: Those that are enumerated; the others are so slow that only some of the long histories have them.
BRIEF: tuple[str, ...] = tuple(name for name, entry in OPERATIONS.items() if not entry.slow)
