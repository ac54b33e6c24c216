"""``embcheck modes``: the ways in which the laws' programs may be executed."""

from typing import Annotated

import typer

from embcheck.cli.usage import NOTHING
from embcheck.core.facts import grouped
from embcheck.report.style import console
from embcheck.subject.collect import load_families


def modes(
    keyword: Annotated[str, typer.Option("-k", help="Print only modes whose name or sentence contains this.")] = "",
) -> None:
    """Lists the modes: what each does, which families have it, what it can't do and why.

    A compiler backend of yours is the mode compile:my_module:my_backend, and compile_no_grad:my_module:my_backend without a graph.
    """
    from embcheck.modes.mode import MODES, absent

    families = load_families().values()
    chosen = [mode for mode in MODES.values() if keyword.lower() in f"{mode.name} {mode.sentence}".lower()]
    if not chosen:
        typer.echo(f"embcheck: no mode contains {keyword!r}", err=True)
        raise typer.Exit(NOTHING)
    out = console()
    for mode in chosen:
        out.print(f"[cyan]{mode.name}[/cyan]  {mode.sentence}", highlight=False)
        having = [family.name for family in families if absent(family, mode) is None]
        lines = [f"of {', '.join(having)}"]
        lacking = mode.lacking()
        if lacking is not None:
            lines.append(f"not here: {lacking}")
        if not mode.values:
            lines.append("only laws of metadata are asked: there are no values")
        if not mode.grad:
            lines.append("laws of graphs are not asked: there is none")
        reasons = grouped(mode.cannot, mode.cannot.__getitem__)
        lines += [f"not with {', '.join(conditions)}: {reason}" for reason, conditions in reasons.items()]
        for line in lines:
            out.print(f"    {line}", style="dim", highlight=False, markup=False)
