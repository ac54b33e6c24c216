"""Faults next to those of the patterns: inner axes that change places, states that outlive a call, other thresholds."""

from __future__ import annotations

from typing import Any

# -- what outlives a call ------------------------------------------------------------------------------------------------

_PADDING: list[int | None] = [None]


_DONE: list[Any] = [lambda: None, None, None]
