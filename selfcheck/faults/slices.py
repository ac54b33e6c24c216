"""Faults of slices of longer tensors: what lies beside them in memory looks like what is inside, and is read."""

from __future__ import annotations
