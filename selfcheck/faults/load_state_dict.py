"""Faults of state dicts and of loading them, in conjunctions: ties, prefixes, hooks, writes that autograd must see."""

from __future__ import annotations
