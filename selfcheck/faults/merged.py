"""Faults of sparse gradients that are added or made dense, and of loading with hooks."""

from __future__ import annotations
