"""Faults of layers and initialisers: how they are made, what they refuse, and what a change of mode does."""

from __future__ import annotations
