"""``embcheck laws``: every law with its sentence and its source."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer
from rich.markup import escape

from embcheck.cli.usage import NOTHING, audit_laws
from embcheck.report.style import console
from embcheck.subject.collect import load_families


def laws(
    keyword: Annotated[str, typer.Option("-k", help="Print only laws whose name or sentence contains this.")] = "",
) -> None:
    """Lists the laws, each with its sentence, its source and what its cases must meet; last the laws of an audit."""
    out, found = console(), False
    sections: dict[str, Iterable[Any]] = {}
    for family in load_families().values():
        cover = f"cover: every combination of the values of any {family.space.strength} axes"
        sections[f"[bold]{family.name}[/bold]  ({', '.join(family.modes)}; {cover})"] = family.laws
    sections["[bold]audit[/bold]  (of models: embcheck audit MODULE:FACTORY)"] = audit_laws().values()
    for heading, every in sections.items():
        chosen = [law for law in every if keyword.lower() in f"{law.name} {law.sentence}".lower()]
        found |= bool(chosen)
        if chosen:
            out.print(heading)
        for law in chosen:
            out.print(f"  [cyan]{law.name}[/cyan]  {escape(law.sentence)}")
            if source := getattr(law, "source", ""):
                out.print(f"      source: {source}", style="dim", markup=False)
    if not found:
        typer.echo(f"embcheck: no law contains {keyword!r}", err=True)
        raise typer.Exit(NOTHING)
