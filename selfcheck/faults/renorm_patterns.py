"""Faults of max_norm at the ends of its range, in tables with gaps, and with a memory of its own."""

from __future__ import annotations
