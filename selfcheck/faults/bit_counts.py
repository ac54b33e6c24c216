"""Faults of numbers that fifteen bits don't count: rows, classes, bags, and elements from row to row."""

from __future__ import annotations

EDGE = 1 << 15
