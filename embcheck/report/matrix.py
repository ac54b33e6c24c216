"""The grid of laws × releases in the terminal, and what changed from release to release."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table
from rich.text import Text

from embcheck.core.verdict import LEDGER, Status
from embcheck.record.compare import Key, across
from embcheck.record.grid import Grid, Square
from embcheck.record.totals import Totals
from embcheck.report.changes import closing, lines
from embcheck.report.style import STYLE


def show(grid: Grid, out: Console, *, every: bool = False, trials: Mapping[int, Mapping[Key, str]]) -> None:
    """The grid, without the laws that hold everywhere unless ``every`` one is asked for; then the steps.

    ``trials`` has, for each step, what the scripts of its changes said.
    """
    out.print(table(grid, every=every))
    quiet = sum(row.quiet for row in grid.rows if row.family != LEDGER)
    if quiet and not every:
        out.print(Text(f"{quiet} laws more hold in every release (--all shows them)", "dim"))
    for column in grid.columns:
        if lacking := column.problem or (column.record.shortfall if column.record is not None else ""):
            out.print(Text.assemble((f"{column.name}  ", "bold"), (lacking, "magenta")))
    for number, step in enumerate(grid.steps):
        out.print(Text(f"\n{step.before.name} → {step.after.name}: {closing(step.changes)}", "bold"))
        if step.before.record is not None and step.after.record is not None:
            out.print(Text(across(step.before.record, step.after.record), "dim"))
        for line in lines(step.changes, trials.get(number, {})):
            out.print(line)


def table(grid: Grid, *, every: bool) -> Table:
    """A row for each law, a column for each release, a last row that counts."""
    found = Table(box=None, pad_edge=False, header_style="bold", show_footer=True, footer_style="dim")
    found.add_column("law", no_wrap=True, footer="cases")
    for column, verdicts in zip(grid.columns, grid.settled, strict=True):
        record = column.record
        cases = (record.footer or {}).get("cases", 0) if record is not None else 0
        found.add_column(column.name, no_wrap=True, footer=f"{cases:,}" if verdicts else "")
    for row in grid.rows:
        if every or not row.quiet:
            found.add_row(row.law, *map(word, row.squares))
    totals = [Totals.of(verdicts) for verdicts in grid.settled]
    found.add_row("")
    for noun, counts in (("laws", [t.laws for t in totals]), ("witnesses", [t.witnesses for t in totals])):
        for status in (Status.HOLDS, Status.KNOWN, Status.UNKNOWN, Status.VIOLATED):
            if any(count[status] for count in counts):
                numbers = (Text(str(count[status]) if count else "", STYLE[status]) for count in counts)
                found.add_row(Text(f"{noun}: {status.word}", "dim"), *numbers)
    return found


def word(square: Square) -> Text:
    """A verdict in words and colour, with the modes where it is not the same in all."""
    if square.status is None:
        return Text("–", "dim")
    text = Text(square.word, STYLE[square.status])
    if square.modes:
        text.append(f" in {', '.join(square.modes)}", "dim")
    return text
