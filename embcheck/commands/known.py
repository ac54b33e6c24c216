"""``embcheck known``: what torch is known to get wrong, the most severe first; and the pages about it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from embcheck.commands.usage import record_at, refuse

if TYPE_CHECKING:
    from embcheck.cause import Cause
    from embcheck.known.page import Known


def known(
    name: Annotated[
        str,
        typer.Argument(metavar="[NAME]", help="A cause, or an entry: then its script alone. With --write the folder."),
    ] = "",
    write: Annotated[
        bool, typer.Option("--write", help="Write the pages and scripts, into docs/known or a folder.")
    ] = False,
    records: Annotated[
        list[Path] | None,
        typer.Option("--record", metavar="RECORD", help="Learn from a record, of any release, first."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="Look at every entry first, and write its script anew.")] = False,
) -> None:
    """Prints the causes of the ledger's entries, the most severe first, or one of them with its entries and a script.

    With --write, entries that no record speaks of are looked at with the installed torch, or all of them, anew.
    """
    from embcheck.known.recorded import PAGES

    if (records or anew) and not write:
        refuse("--record and --anew go with --write")
    if write:
        _write(Path(name) if name else PAGES, records or [], anew)
        return
    found = shipped_known()
    if not name:
        _list(found)
    elif any(entry.name == name for entry in found.entries):
        typer.echo(found.recorded[name].script, nl=False)
    else:
        _one(found, cause_named(name))


def shipped_known() -> Known:
    """The shipped ledger with what is recorded of it."""
    from embcheck.known.page import Known
    from embcheck.known.recorded import kept
    from embcheck.shipped import shipped

    entries, causes = shipped()
    return Known(entries, tuple(causes.values()), kept())


def cause_named(name: str) -> Cause:
    """The cause of a name; a name that none has is refused, with close ones."""
    from embcheck.facts import closest
    from embcheck.shipped import shipped

    entries, causes = shipped()
    if name not in causes:
        hint = closest(name, [*causes, *(entry.name for entry in entries)]) or "see `embcheck known`"
        refuse(f"no cause {name!r}; {hint}")
    return causes[name]


def _list(found: Known) -> None:
    from embcheck.cause import summed_up

    typer.echo(f"{summed_up(found.causes)}, of {len(found.entries)} ledger entries")
    sort = ""
    for cause in found.ordered:
        if cause.sort != sort:
            sort = cause.sort
            typer.echo(f"\n{sort}")
        typer.echo(f"  {cause.name}: {cause.title}")


def _one(found: Known, cause: Cause) -> None:
    from embcheck.cause import SEVERITIES

    typer.echo(f"{cause.name}\n{cause.title}\n")
    rows = {
        "api": cause.api,
        "severity": f"{cause.severity}: {SEVERITIES[cause.severity]}" if cause.severity else "",
        "by design": cause.by_design,
        "upstream": found.reported(cause),
        "umbrella": cause.umbrella,
        "since": cause.since,
        "fixed": cause.fixed,
    }
    for name, words in rows.items():
        if words:
            typer.echo(f"  {name:10} {words}")
    for entry in found.of(cause):
        seen = ", ".join(f"{release} {word}" for release, word in found.recorded[entry.name].releases.items())
        typer.echo(f"\n  {entry.name} ({seen})\n    {entry.reason}\n    {entry.witness}")
    main = found.of(cause)[0]
    typer.echo(f"\n{cause.snippet or found.recorded[main.name].script.rstrip()}")


def _write(folder: Path, records: list[Path], anew: bool) -> None:
    from embcheck.files import write_whole
    from embcheck.known.issue import stored
    from embcheck.known.page import Known, pages
    from embcheck.known.recorded import keep, kept, of_records, unseen, updated
    from embcheck.shipped import shipped

    entries, causes = shipped()
    before = kept()
    found = updated(entries, before, of_records(record_at(path) for path in records))
    found = _looked(entries, found, anew)
    known = Known(entries, tuple(causes.values()), found)
    made = pages(known) | stored(known)
    try:
        if found != before:
            keep(found)
        for path, text in made.items():
            if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != text:
                write_whole(folder / path, text)
        for old in (*folder.glob("*.md"), *folder.glob("*/*.md"), *folder.glob("scripts/*.py")):
            if str(old.relative_to(folder).as_posix()) not in made:
                old.unlink()
    except OSError as error:
        refuse(f"can't write {error.filename}: {error.strerror}")
    typer.echo(f"{folder}: {len(causes)} causes, {len(entries)} entries")
    for name in unseen(entries, found):
        typer.echo(f"no release that was tried shows {name}: give a record of one that does", err=True)


def _looked(entries: Any, found: Any, anew: bool) -> Any:
    """What is recorded, with what the entries show here that nothing is recorded of, or all of them."""
    from embcheck.known.recorded import outdated, tried, unseen, updated
    from embcheck.run import environment
    from embcheck.verdict import witness_law
    from embcheck.witness import look

    missing = {entry.name for entry in entries} if anew else {*outdated(entries, found), *unseen(entries, found)}
    if not missing:
        return found
    looked = [look(entry, surveyed=True) for entry in entries if entry.name in missing]
    found = updated(entries, found, {environment()["versions"]["torch"]: looked})
    seen = {entry.name for entry in entries for v in looked if v.law == witness_law(entry.name) and v.counterexamples}
    written, statuses = tried({name: found[name] for name in sorted(seen)})
    for name, status in statuses.items():
        if status != 1:
            typer.echo(f"the script of {name} ends with {status}, not 1", err=True)
    return found | written
