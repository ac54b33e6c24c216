"""Why a case that starts processes of its own can't be judged here."""

from __future__ import annotations

from embcheck.core.outcome import Outcome
from embcheck.families.dtensor.programs import APART


def no_ranks(case: object, out: Outcome) -> str | None:
    """Why an outcome can't be judged: forks can't use a device that is in use."""
    return None if out.device == "cpu" else "ranks are forks, which can't use a device that this process uses"


def unmade(out: Outcome) -> str | None:
    """What this release or this machine lacks."""
    text = str(out.error or "")
    if text.startswith(APART):
        return APART
    if isinstance(out.error, ImportError) and "torch.distributed" in text:
        return f"this release has none: {text.splitlines()[0][:80]}"
    return "this system has no fork" if isinstance(out.error, ValueError) and "'fork'" in text else None
