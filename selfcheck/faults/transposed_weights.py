"""Faults of what lies in another order of memory than that of its axes: square batches, and tables that are loaded."""

from __future__ import annotations
