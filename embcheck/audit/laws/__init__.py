"""The laws of the audit, in the order in which they are judged: what is there, what moves it, what is kept."""

from __future__ import annotations

import importlib

#: Of two laws that meet one root cause, the first reports it.
ORDER = ("ties", "values", "kept")


def load() -> None:
    """Imports every module of laws, which registers them."""
    for name in ORDER:
        importlib.import_module(f"embcheck.audit.laws.{name}")
