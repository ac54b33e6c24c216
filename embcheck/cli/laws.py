"""``embcheck laws``: every law with its sentence and its source."""

from collections.abc import Iterable
from functools import partial
from typing import Annotated, Any

import typer
from rich.markup import escape

from embcheck.cli.usage import NOTHING, audit_laws, expression_of
from embcheck.core import aliases
from embcheck.report.style import console
from embcheck.subject.collect import load_families


def laws(
    select: Annotated[
        str,
        typer.Option(
            "-k",
            metavar="EXPRESSION",
            help="Print only what `embcheck run -k` selects: families by a part of their name, laws by the whole.",
        ),
    ] = "",
) -> None:
    """Lists the laws, each with its sentence, its source and what its cases must meet; last the laws of an audit."""
    out, found, selects = console(), False, expression_of(select).evaluate
    sections: dict[tuple[str, str], Iterable[Any]] = {}
    for family in load_families().values():
        cover = f"cover: every combination of the values of any {family.space.strength} axes"
        sections[family.name, f"({', '.join(family.modes)}; {cover})"] = family.laws
    sections["audit", "(of models: embcheck audit MODULE:FACTORY)"] = audit_laws().values()
    for (name, about), every in sections.items():
        chosen = [law for law in every if not select or selects(partial(_is_named, name, law.name))]
        found |= bool(chosen)
        if chosen:
            out.print(f"[bold]{name}[/bold]  {about}")
        for law in chosen:
            out.print(f"  [cyan]{law.name}[/cyan]  {escape(law.sentence)}")
            if source := getattr(law, "source", ""):
                out.print(f"      source: {source}", style="dim", markup=False)
    if not found:
        from embcheck.report.progress import near

        for line in ("nothing was selected", *near(select)):
            typer.echo(f"embcheck: {line}", err=True)
        raise typer.Exit(NOTHING)


def _is_named(family: str, law: str, word: str, /, **_: object) -> bool:
    return word.lower() in family or word in aliases.names_of(law)
