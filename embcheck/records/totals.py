"""How many laws stand how: counted here, for the terminal, the job's summary, the page, the grids and the footer.

A law counts once for each subject, by its worst verdict over modes, engines, devices and runs.  The witnesses of the
ledger's entries are no laws and are counted by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from embcheck.verdict import Status, Verdict

#: The family under which the witnesses of the ledger's entries are filed.
LEDGER = "ledger"


@dataclass(frozen=True)
class Totals:
    """The numbers of laws, and of witnesses, by their status."""

    laws: Counter[Status]
    witnesses: Counter[Status]

    @classmethod
    def of(cls, verdicts: Iterable[Verdict]) -> Totals:
        """Counts settled verdicts."""
        worst: dict[tuple[str, str, str], Status] = {}
        for verdict in verdicts:
            key = (verdict.law, verdict.subject, verdict.family)
            worst[key] = max(worst.get(key, verdict.status), verdict.status)
        laws = Counter(status for (_, _, family), status in worst.items() if family != LEDGER)
        return cls(laws, Counter(status for (_, _, family), status in worst.items() if family == LEDGER))

    def __str__(self) -> str:
        """In words: what is worst comes first."""
        witnesses = f" · witnesses of the ledger: {told(self.witnesses)}" if self.witnesses else ""
        return f"laws: {told(self.laws)}{witnesses}"


def told(counts: Counter[Status]) -> str:
    """Statuses with their numbers, the worst first."""
    return ", ".join(f"{counts[status]} {status.word}" for status in sorted(counts, reverse=True)) or "none"


def by_word(counts: Counter[Status]) -> dict[str, int]:
    """The numbers as a record keeps them."""
    return {status.word: counts[status] for status in sorted(counts, reverse=True)}


def counted(number: int, noun: str = "law") -> str:
    """``1 law``, ``5 laws``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
