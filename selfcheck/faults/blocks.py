"""Faults of kernels that work block by block: what lies beyond a block, read where it does not lie, or squared too large."""

from __future__ import annotations
