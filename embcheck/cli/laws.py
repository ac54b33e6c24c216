"""``embcheck laws``: every law with its sentence and its source."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from embcheck.cli.usage import NOTHING, audit_laws
from embcheck.report.style import console
from embcheck.subject.collect import load_families


def laws(
    keyword: Annotated[str, typer.Option("-k", help="Print only laws whose name or sentence contains this.")] = "",
) -> None:
    """Lists the laws, each with its sentence, its source and what its cases must meet; last the laws of an audit."""
    out = console()
    shown = 0
    for family in load_families().values():
        chosen = [law for law in family.laws if keyword.lower() in f"{law.name} {law.sentence}".lower()]
        if chosen:
            cover = f"cover: every combination of the values of any {family.space.strength} axes"
            out.print(f"[bold]{family.name}[/bold]  ({', '.join(family.modes)}; {cover})")
        for law in chosen:
            shown += 1
            out.print(f"  [cyan]{law.name}[/cyan]  {escape(law.sentence)}", highlight=False)
            if law.source:
                out.print(f"      source: {law.source}", style="dim", markup=False, highlight=False)
    audits = [law for law in audit_laws().values() if keyword.lower() in f"{law.name} {law.sentence}".lower()]
    if audits:
        out.print("[bold]audit[/bold]  (of models: embcheck audit MODULE:FACTORY)", highlight=False)
    for each in audits:
        shown += 1
        out.print(f"  [cyan]{each.name}[/cyan]  {escape(each.sentence)}", highlight=False)
    if not shown:
        typer.echo(f"embcheck: no law contains {keyword!r}", err=True)
        raise typer.Exit(NOTHING)
