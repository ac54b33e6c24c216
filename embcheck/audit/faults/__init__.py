"""Faults that are planted into a small model: each must be found, and the model without one must be clean."""

from __future__ import annotations

import importlib

MODULES = ("ties", "training", "reload", "resize")


def load() -> None:
    """Imports every module of faults, which registers them."""
    for name in MODULES:
        importlib.import_module(f"embcheck.audit.faults.{name}")
