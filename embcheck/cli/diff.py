"""``embcheck diff A B``: what changed from one record to another."""

from pathlib import Path
from typing import Annotated

import typer

from embcheck.cli.usage import record_at
from embcheck.record.compare import Move, compare
from embcheck.report.changes import show
from embcheck.report.style import console


def diff(
    before: Annotated[Path, typer.Argument(help="A record, or the folder that --report wrote.")],
    after: Annotated[Path, typer.Argument(help="The record to compare with it.")],
    ratios: Annotated[bool, typer.Option("--ratios/--no-ratios", help="Also show changed error/bound ratios.")] = True,
) -> None:
    """Compares two records law by law: exit 1 if something broke or is no longer decided, or a record is incomplete."""
    old, new = record_at(before), record_at(after)
    changes = compare(old, new)
    shown = [change for change in changes if ratios or change.move is not Move.RATIO]
    show(shown, old, new, console())
    raise typer.Exit(int(any(change.move.bad for change in changes) or not (old.complete and new.complete)))
