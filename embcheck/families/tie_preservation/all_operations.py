"""All operations on a tied model, in the order in which they are enumerated."""

from __future__ import annotations

from embcheck.core.registry import named
from embcheck.families.tie_preservation.operations import COPYING, LEAVING, TRAINING, Entry
from embcheck.families.tie_preservation.rewriting import BREAKING, REWRITING, TYING

OPERATIONS: dict[str, Entry] = {**LEAVING, **COPYING, **BREAKING, **TYING, **REWRITING, **TRAINING}
named({name: entry.act for name, entry in OPERATIONS.items()})
