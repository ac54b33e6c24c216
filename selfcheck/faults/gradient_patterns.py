"""Faults of a table's gradient: patterns of the tokens, the memory of what comes from above, several passes."""

from __future__ import annotations
