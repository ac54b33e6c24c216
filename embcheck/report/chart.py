"""The charts of the page: cases by family and engine, and how near the bounds the laws come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from embcheck.core.verdict import LEDGER
from embcheck.record.grid import Grid, Row

ENGINES = ("scope", "product", "random", "witness")


@dataclass(frozen=True)
class Bar:
    """A bar of a chart: its label and its parts, each with a name, a number and its share of the longest bar."""

    label: str
    parts: Sequence[tuple[str, int, float]]

    @property
    def total(self) -> int:
        return sum(number for _, number, _ in self.parts)


def cases_by_family(grid: Grid) -> list[Bar]:
    """How many cases each family's engines judged, over all runs (each case once, whichever laws judge it)."""
    counts: dict[str, Counter[str]] = {}
    seen: dict[tuple[str, ...], int] = {}
    for column in grid.columns:
        for v in column.record.verdicts if column.record is not None else ():
            key = (column.name, v.family, v.subject, v.mode, v.engine, v.digest)
            seen[key] = max(seen.get(key, 0), v.cases)
    for (_, family, _, _, engine, _), cases in seen.items():
        if family != LEDGER:
            counts.setdefault(family, Counter())[engine] += cases
    longest = max((count.total() for count in counts.values()), default=0) or 1
    return [
        Bar(family, [(engine, count[engine], 100 * count[engine] / longest) for engine in ENGINES if count[engine]])
        for family, count in sorted(counts.items(), key=lambda item: -item[1].total())
    ]


def ratios(grid: Grid) -> tuple[list[Bar], int]:
    """How near the bounds the laws come: a bar for each tenth, and how many laws are exact."""
    worst = [row_worst(row) for row in grid.rows if row.family != LEDGER]
    tenths = Counter(min(int(ratio * 10), 9) for ratio in worst if ratio is not None)
    longest = max(tenths.values(), default=0) or 1
    labels = [f"{n / 10:.1f}–{(n + 1) / 10:.1f}" for n in range(10)]
    bars = [Bar(labels[n], [("laws", tenths[n], 100 * tenths[n] / longest)]) for n in range(10)]
    return bars, sum(ratio is None for ratio in worst)


def row_worst(row: Row) -> float | None:
    """The worst ratio of a law over all runs; None for an exact law."""
    return max((square.worst for square in row.squares if square.worst is not None), default=None)
