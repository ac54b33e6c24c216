"""What is said of a ledger entry whose witness passes where it was measured to fail."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from embcheck.core.verdict import LEDGER, Status, Verdict

#: How the reason of its verdict begins, and how it ends.
STALE = "stale: "
_REMOVE, _FIRST = "remove the entry", "laws of its family are violated: look at these first"


def stale(case: Any) -> str:
    """That a witness no longer fails, and what to do."""
    return f"{STALE}{case!r} no longer fails; {_REMOVE}"


def advised(settled: Iterable[Verdict]) -> list[Verdict]:
    """The verdicts of a run; of an entry that is stale while laws are violated on cases of its type it is not said to remove it:
    what violates them may hide what is known."""
    settled = list(settled)
    shown = (example for verdict in settled if verdict.status == Status.VIOLATED for example in verdict.counterexamples)
    violated = {_type(example.case) for example in shown}

    def told(reason: str) -> str:
        if reason.startswith(STALE) and _type(reason.removeprefix(STALE)) in violated:
            return reason.replace(_REMOVE, _FIRST)
        return reason

    return [
        replace(verdict, reasons=tuple(map(told, verdict.reasons))) if verdict.family == LEDGER else verdict
        for verdict in settled
    ]


def _type(case: str) -> str:
    return case.partition("(")[0]
