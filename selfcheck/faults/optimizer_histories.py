"""Faults of an optimizer's steps that a history shows, or a conjunction of flags."""

from __future__ import annotations
