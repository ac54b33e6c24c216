"""Faults of the hooks of leaves, values and layers."""

from __future__ import annotations
