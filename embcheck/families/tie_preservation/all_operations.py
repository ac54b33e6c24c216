"""All operations of a life, in the order of their modules."""

from __future__ import annotations

from embcheck.families.tie_preservation import copies, executions, rewriting, training
from embcheck.families.tie_preservation.operations import OPERATIONS

__all__ = ["BRIEF", "OPERATIONS", "copies", "executions", "rewriting", "training"]

#: Those that are enumerated; the others are so slow that only some of the long histories have them.
BRIEF: tuple[str, ...] = tuple(name for name, entry in OPERATIONS.items() if not entry.slow)
