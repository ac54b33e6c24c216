"""What is kept from command to command: good only if it is whole, and only for the machine that gave it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from embcheck.core.machine import Machine, seen


def remembered(path: Path) -> dict[str, Any] | None:
    """The JSON object in a file; None if there is none, whole."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) else None


@lru_cache
def machine() -> tuple[str, ...]:
    """What tells this machine's answers from another's: the CPU, what it can do, and the variables that limit it."""
    return _facts(seen())


def from_here(header: Mapping[str, Any]) -> bool:
    """Whether a record was made on a machine like this one; one that does not say where was not."""
    return _facts(Machine.of(header.get("machine") or {})) == machine()


def _facts(found: Machine) -> tuple[str, ...]:
    return (found.arch, found.cpu, *found.isa, *found.caps)
