"""Faults of max_norm that show on some rows, norms, dtypes and sizes only."""

from __future__ import annotations
