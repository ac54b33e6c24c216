"""``embcheck known``: what torch is known to get wrong, the most severe first; and the pages about it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck.cli.usage import only_in_checkout, record_at, refuse
from embcheck.core.cause import SEVERITIES, Cause, ModelCause, summed_up
from embcheck.core.facts import closest
from embcheck.core.files import write_whole
from embcheck.core.shipped_ledger import shipped
from embcheck.known import tried
from embcheck.known.issue import stored
from embcheck.known.models import PAGES as MODEL_PAGES
from embcheck.known.models import SCRIPTS as MODEL_SCRIPTS
from embcheck.known.models import model_causes, model_pages
from embcheck.known.page import Known, pages
from embcheck.known.recorded import DOCS, PAGES, SCRIPTS, keep, kept, of_records, outdated, scripts, unseen, updated
from embcheck.runner.run import environment

#: The first line of a first script, which a program wrote: the linter has nothing to say of it until it is short.
_FIRST = "# ruff: noqa\n"


def known(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", help="A cause of torch or of models, or an entry. With --write: a folder instead of docs."
        ),
    ] = "",
    write: Annotated[bool, typer.Option("--write", help="Write the pages into docs, or into a folder.")] = False,
    records: Annotated[
        list[Path] | None,
        typer.Option("--record", metavar="RECORD", help="First read the results of this record, of any release."),
    ] = None,
    anew: Annotated[bool, typer.Option("--anew", help="First run the witness of every entry again.")] = False,
) -> None:
    """Prints the causes of the ledger's entries, the most severe first; with NAME one cause with its entries and its script,
    also of those that the audit found in models.

    With --write, entries that no record has results of are run with the installed torch; with --anew all of them.  A cause
    without a script gets a first one, made from its first entry's witness, which a person then shortens.  The pages about
    torch are written into known, those about models into audit-findings.
    """
    if (records or anew) and not write:
        refuse("--record and --anew go with --write")
    if write:
        only_in_checkout("known --write", "the pages and the scripts are not in the wheel")
        _write(Path(name) if name else DOCS, records or [], anew)
        return
    found = shipped_known()
    models = model_causes() if name else {}
    if not name:
        _list(found)
    elif name in models:
        _one_of_models(models[name])
    else:
        _one(found, cause_named(name, models))


def shipped_known() -> Known:
    """The shipped ledger with what is recorded of it."""
    entries, causes = shipped()
    return Known(entries, tuple(causes.values()), kept(), scripts(), tried.kept())


def cause_named(name: str, others: Iterable[str] = ()) -> Cause:
    """The cause of a name, its own or that of an entry; a name that none has is refused, with close ones, also among others."""
    entries, causes = shipped()
    of = {entry.name: entry.cause for entry in entries} | {cause: cause for cause in causes}
    if of.get(name) not in causes:
        refuse(f"no cause {name!r}; {closest(name, [*of, *others]) or 'see `embcheck known`'}")
    return causes[of[name]]


def _list(found: Known) -> None:
    typer.echo(f"{summed_up(found.causes, 'embcheck known NAME shows one')}, of {len(found.entries)} ledger entries")
    severity = ""
    for cause in found.ordered:
        if cause.severity != severity:
            severity = cause.severity
            typer.echo(f"\n{severity}")
        typer.echo(f"  {cause.name}: {cause.title}")


def _one(found: Known, cause: Cause) -> None:
    rows = {"umbrella": cause.umbrella, "since": found.since(cause), "fixed": found.fixed(cause)}
    _told(cause, found.reported(cause), rows)
    for entry in found.of(cause):
        seen = ", ".join(f"{release} {word}" for release, word in found.recorded[entry.name].releases.items())
        typer.echo(f"\n  {entry.name} ({seen})\n    {entry.reason}\n    {entry.witness}")
    typer.echo(f"\n{found.scripts.get(cause.name, cause.snippet).rstrip()}")


def _one_of_models(cause: ModelCause) -> None:
    rows = {
        "where": ", ".join(cause.where),
        "why": " ".join(cause.reason.split()),
        "mend": " ".join(cause.fix.split()),
        "seen": f"with transformers {cause.seen}",
    }
    _told(cause, cause.reported, rows)
    typer.echo(f"\n{scripts(MODEL_SCRIPTS).get(cause.name, cause.snippet).rstrip()}")


def _told(cause: Cause | ModelCause, upstream: str, rows: Mapping[str, str]) -> None:
    typer.echo(f"{cause.name}\n{cause.title}\n")
    for name, words in {"api": cause.api, "severity": SEVERITIES[cause.severity], "upstream": upstream, **rows}.items():
        if words:
            typer.echo(f"  {name:10} {words}")


def _write(folder: Path, records: list[Path], anew: bool) -> None:
    from embcheck.engine.witness import script_of

    before = shipped_known()
    entries, causes = before.entries, before.causes
    found = updated(entries, before.recorded, of_records(record_at(path) for path in records))
    found = _looked(entries, found, anew)
    # Of a cause without a script that of its first entry's witness, where the installed torch shows it.
    missing = [cause.name for cause in causes if cause.name not in before.scripts]
    made = {name: script_of(next(entry for entry in entries if entry.cause == name)) for name in missing}
    first = {name: _FIRST + text for name, text in made.items() if text}
    known = replace(before, recorded=found, scripts={**before.scripts, **first})
    models = model_causes()
    try:
        if found != before.recorded:
            keep(found)
        for name, text in first.items():
            write_whole(SCRIPTS / f"{name}.py", text)
        _replace(folder / PAGES.name, pages(known) | stored(known))
        _replace(folder / MODEL_PAGES.name, model_pages(models))
    except OSError as error:
        refuse(f"can't write {error.filename}: {error.strerror}")
    typer.echo(f"{folder}: {len(causes)} causes, {len(entries)} entries; {len(models)} causes in models")
    for line in _advice(unseen(entries, found), outdated(entries, before.recorded), first):
        typer.echo(line, err=True)


def _advice(dark: Iterable[str], new: Collection[str], first: Iterable[str]) -> list[str]:
    """What is left to do: of entries that no release shows the number, but for the new ones, and what is new last, by name."""
    old, late = list[str](), list[str]()
    for name in dark:
        (late if name in new else old).append(name)
    return [
        *([f"as before, no release that was tried shows {len(old)} of the entries"] if old else []),
        *(f"no release that was tried shows {name}: give a record of one that does" for name in late),
        *(f"make it short, with literal tensors, and delete its first line: {SCRIPTS / name}.py" for name in first),
    ]


def _replace(folder: Path, made: Mapping[str, str]) -> None:
    """Writes what differs of the pages in a folder, and removes those that are not made any more."""
    for path, text in made.items():
        if not (folder / path).is_file() or (folder / path).read_text(encoding="utf-8") != text:
            write_whole(folder / path, text)
    for old in (*folder.glob("*.md"), *folder.glob("*/*.md")):
        if old.relative_to(folder).as_posix() not in made:
            old.unlink()


def _looked(entries: Any, found: Any, anew: bool) -> Any:
    """What is recorded, with what the entries show here that nothing is recorded of, or all of them."""
    from embcheck.engine.witness import look

    missing = {entry.name for entry in entries} if anew else {*outdated(entries, found), *unseen(entries, found)}
    if not missing:
        return found
    looked = [look(entry, surveyed=True) for entry in entries if entry.name in missing]
    return updated(entries, found, {environment()["versions"]["torch"]: looked})
