"""What all reports in a terminal share: where they are printed, and how a status looks."""

import sys
import time
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderResult
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.segment import Segment
from rich.table import Table

from embcheck.core.verdict import Status

#: How a status looks.
STYLE = {
    Status.NOT_APPLICABLE: "dim",
    Status.HOLDS: "green",
    Status.KNOWN: "yellow",
    Status.UNKNOWN: "magenta",
    Status.VIOLATED: "bold red",
}


def console(*, colour: bool | None = None, width: int | None = None, stderr: bool = False) -> Console:
    """Where reports are printed; plain where there is no terminal.  Unless a ``colour`` is asked for or refused, rich heeds
    NO_COLOR and FORCE_COLOR itself."""
    return Console(
        file=sys.stderr if stderr else sys.stdout,
        force_terminal=colour or None,
        no_color=None if colour is None else not colour,
        # A report in a file or a CI log is not cut to the 80 columns of a terminal that isn't there.
        width=width if sys.stdout.isatty() else max(140, width or 0),
        highlight=False,
        soft_wrap=True,
    )


class _Plain(Table):
    """A table whose lines don't end in blanks."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        whole = [part for part in super().__rich_console__(console, options) if isinstance(part, Segment)]
        for line in Segment.split_lines(whole):
            while line and not line[-1].text.strip():
                line.pop()
            last = line.pop() if line else Segment("")
            yield from (*line, Segment(last.text.rstrip(), last.style), Segment.line())


def plain_table(*columns: str, numbers: Iterable[str] = (), **properties: Any) -> Table:
    """A table without lines: columns of text, then columns of numbers."""
    table = _Plain(box=None, pad_edge=False, header_style="bold", title_justify="left", **properties)
    for name in columns:
        table.add_column(name, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def bar(out: Console, *, shown: bool = True) -> Progress:
    """A progress bar, which shows nothing where there is no terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    return Progress(*columns, console=out, disable=not (shown and sys.stdout.isatty()))


#: Seconds between two lines where there is no bar: at least, and at most while something is looked at.
_BETWEEN, _SILENT = 10.0, 30.0


class Pace:
    """When a line is due where there is no bar: for each tenth of the whole, but not within ten seconds of the last one, and in
    any case half a minute after it."""

    def __init__(self) -> None:
        self.started = self._said = time.monotonic()
        self._told = 0

    def due(self, done: int, total: int) -> bool:
        """Whether it is now, which is taken as said then."""
        now, tenth = time.monotonic(), done * 10 // total if total else 0
        if now - self._said < (_BETWEEN if tenth > self._told else _SILENT):
            return False
        self._told, self._said = tenth, now
        return True

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.monotonic() - self.started
