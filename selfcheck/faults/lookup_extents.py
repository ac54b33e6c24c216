"""Faults of lookups that show beyond some extent, in two modes at once, or after the table or the tokens were written."""

from __future__ import annotations
