"""Faults of an optimizer's step."""

from __future__ import annotations
