"""Faults of gradients that have more elements than are reduced, or written, in one piece."""

from __future__ import annotations
