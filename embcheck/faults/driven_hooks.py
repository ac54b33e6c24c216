"""Faults of the hooks of leaves, values and layers."""

from __future__ import annotations

from embcheck.faults.entry import Wrong


def twice(original: Wrong) -> Wrong:
    """A registration that registers twice."""
    return lambda self, hook, *rest, **more: (original(self, hook, *rest, **more), original(self, hook, *rest, **more))[
        1
    ]


def _silenced(original: Wrong) -> Wrong:
    return lambda self, hook, *rest, **more: original(self, lambda *given: (hook(*given), None)[1], *rest, **more)
