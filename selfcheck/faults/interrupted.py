"""Faults of regions that end by an exception, of complex parameters, of states that are loaded in double precision and of
buffers in copies."""

from __future__ import annotations
