"""``embcheck findings``: brings the list of what torch gets wrong up to date."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from embcheck.commands.usage import record_at, refuse
from embcheck.files import write_whole

if TYPE_CHECKING:
    from embcheck.findings import Finding


def findings(
    records: Annotated[
        list[Path] | None, typer.Argument(metavar="[RECORD]…", help="Records, of any releases, to learn from.")
    ] = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("docs/findings.md"),
    script: Annotated[str, typer.Option("--script", metavar="ENTRY", help="Print an entry's script, and no more.")] = "",
    anew: Annotated[bool, typer.Option("--anew", help="Look at every entry, and write its script anew.")] = False,
) -> None:
    """Writes docs/findings.md from the ledger: what is wrong, where, in which releases, and a script for each.

    Entries that no record speaks of are looked at with the installed torch, or all of them, anew.
    """
    from embcheck.findings import keep, kept, of_records, outdated, page, tried, unseen, updated
    from embcheck.ledger import SHIPPED, read
    from embcheck.run import environment
    from embcheck.witness import look, named

    entries = read(SHIPPED)
    if script:
        typer.echo(_script(script, kept()), nl=False)
        return
    found = updated(entries, kept(), of_records(record_at(path) for path in records or ()))
    missing = {entry.name for entry in entries} if anew else {*outdated(entries, found), *unseen(entries, found)}
    if missing:
        here = environment()["versions"]["torch"]
        looked = [look(entry, surveyed=True) for entry in entries if entry.name in missing]
        found = updated(entries, found, {here: looked})
        seen = {entry.name for entry in entries for v in looked if v.law == named(entry) and v.counterexamples}
        written, statuses = tried({name: found[name] for name in sorted(seen)})
        found |= written
        for name, status in statuses.items():
            if status != 1:
                typer.echo(f"the script of {name} ends with {status}, not 1", err=True)
    try:
        keep(found)
        write_whole(output, page(entries, found))
    except OSError as error:
        refuse(f"can't write {error.filename}: {error.strerror}")
    typer.echo(f"{output}: {len(entries)} findings, {len(missing)} looked at now")
    for name in unseen(entries, found):
        typer.echo(f"no release that was tried shows {name}: give a record of one that does", err=True)


def _script(name: str, found: Mapping[str, Finding]) -> str:
    if name not in found:
        close = difflib.get_close_matches(name, found, 3)
        refuse(f"no entry {name!r}; " + (f"did you mean {' or '.join(close)}?" if close else "see docs/findings.md"))
    return found[name].script
