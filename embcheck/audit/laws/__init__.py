"""The laws of the audit, in the order in which they are judged: what is there, what moves it, what is kept."""

from __future__ import annotations

import importlib

from embcheck.audit.finding import LAWS, AuditLaw


def load() -> dict[str, AuditLaw]:
    """Imports every module of laws, which registers them: of two laws that meet one root cause, the first reports it."""
    for name in ("ties", "values", "padding", "kept"):
        importlib.import_module(f"embcheck.audit.laws.{name}")
    return LAWS
