"""The charts of the page: cases by family and engine, and how near the bounds the laws come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from embcheck.core.verdict import LEDGER
from embcheck.record.grid import Grid
from embcheck.record.totals import cases_by_engine

ENGINES = ("scope", "product", "random", "witness")


class Bar(NamedTuple):
    """A bar of a chart: its label and its parts, each with a name, a number and its share of the longest bar."""

    label: str
    parts: Sequence[tuple[str, int, float]]

    @property
    def total(self) -> int:
        return sum(number for _, number, _ in self.parts)


def cases_by_family(grid: Grid) -> list[Bar]:
    """How many cases each family's engines judged, over all runs (each case once, whichever laws judge it)."""
    counts: dict[str, Counter[str]] = {}
    for record in (column.record for column in grid.columns):
        for family, engines in cases_by_engine(record.verdicts if record is not None else ()).items():
            counts.setdefault(family, Counter()).update(engines)
    counts.pop(LEDGER, None)
    longest = max((count.total() for count in counts.values()), default=0) or 1
    return [
        Bar(family, [(engine, count[engine], 100 * count[engine] / longest) for engine in ENGINES if count[engine]])
        for family, count in sorted(counts.items(), key=lambda item: -item[1].total())
    ]


def ratios(grid: Grid) -> tuple[list[Bar], int]:
    """How near the bounds the laws come: a bar for each tenth, and how many laws are exact."""
    worst = [row.worst for row in grid.rows if row.family != LEDGER]
    tenths = Counter(min(int(ratio * 10), 9) for ratio in worst if ratio is not None)
    longest = max(tenths.values(), default=0) or 1
    labels = [f"{n / 10:.1f}–{(n + 1) / 10:.1f}" for n in range(10)]
    bars = [Bar(labels[n], [("laws", tenths[n], 100 * tenths[n] / longest)]) for n in range(10)]
    return bars, sum(ratio is None for ratio in worst)
