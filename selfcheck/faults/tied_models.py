"""Faults of what is done with tied models, and of passes that are given one table twice."""

from __future__ import annotations
