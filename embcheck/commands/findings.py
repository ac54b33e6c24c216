"""``embcheck findings``: brings the list of what torch gets wrong up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embcheck.commands.usage import record_at, refuse


def findings(
    records: Annotated[
        list[Path] | None, typer.Argument(metavar="[RECORD]…", help="Records, of any releases, to learn from.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("docs/findings.md"),
) -> None:
    """Writes docs/findings.md from the ledger: what is wrong, where, in which releases, and a script for each.

    Entries that no record speaks of are looked at with the installed torch.
    """
    from embcheck.findings import keep, kept, of_records, outdated, page, unseen, updated
    from embcheck.ledger import SHIPPED, read
    from embcheck.run import environment
    from embcheck.witness import look

    entries = read(SHIPPED)
    found = updated(entries, kept(), of_records(record_at(path) for path in records or ()))
    missing = {*outdated(entries, found), *unseen(entries, found)}
    if missing:
        here = environment()["versions"]["torch"]
        looked = [look(entry, surveyed=True) for entry in entries if entry.name in missing]
        found = updated(entries, found, {here: looked})
    try:
        keep(found)
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(page(entries, found), encoding="utf-8")
    except OSError as error:
        refuse(f"can't write {error.filename}: {error.strerror}")
    typer.echo(f"{output}: {len(entries)} findings, {len(missing)} looked at now")
    for name in unseen(entries, found):
        typer.echo(f"no release that was tried shows {name}: give a record of one that does", err=True)
