"""A sweep of CPU levels in the terminal: what each level proved, and a table of the laws by level."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table
from rich.text import Text

from embcheck.core.verdict import Status, Verdict
from embcheck.engine.levels.sweep import Swept
from embcheck.record.totals import grouped
from embcheck.report.style import STYLE, plain_table

#: What stands where a law was not judged at a level.
_NOTHING = "–"


def level_lines(swept: Sequence[Swept]) -> list[str]:
    """A line for each level: the number of its column, and what its process proved, or why there was none."""
    width = max(len(each.level) for each in swept)
    numbers = {each.level: str(number) for number, each in enumerate(_judged(swept), 1)}
    return [f"{numbers.get(each.level, _NOTHING):>2}  {each.level:{width}}  {each.words}" for each in swept]


def _judged(swept: Sequence[Swept]) -> list[Swept]:
    return [each for each in swept if each.verdicts]


def level_table(swept: Sequence[Swept], verdicts: Sequence[Verdict]) -> Table:
    """A row for each law, a column for each level that was judged, by its number: how the law stands there."""
    levels = _judged(swept)
    numbers = map(str, range(1, len(levels) + 1))
    table = plain_table("law", *numbers, numbers=("cases",), collapse_padding=True)
    for law, group in grouped(verdicts, lambda verdict: verdict.law).items():
        places = grouped(group, lambda verdict: verdict.device)
        cells = [_cell(places.get(each.device, [])) for each in levels]
        cases = max(sum(verdict.cases for verdict in group) for group in places.values())
        table.add_row(law, *cells, f"{cases:,}")
    return table


def _cell(group: Sequence[Verdict]) -> Text:
    status = max((verdict.status for verdict in group), default=None)
    if status is None or status == Status.NOT_APPLICABLE:
        return Text(_NOTHING)
    return Text(status.word, STYLE[status])
