"""What commands share: exit codes, how bad input is refused, and the record and kept failures of those that do without pytest."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from embcheck.core.machine import Machine
from embcheck.core.typed import visible
from embcheck.core.verdict import Counterexample
from embcheck.record.record import Record, RecordError, Writer, read
from embcheck.record.store import keep

if TYPE_CHECKING:
    from embcheck.core.law import Family, Law

#: Where a command looks for a failure.
Store = Annotated[Path, typer.Option("--store", help="Where failures are kept, or the folder of a report.")]

#: Exit codes: what was asked for can't be; something went wrong inside; nothing was selected.
USAGE, INTERNAL, NOTHING = 4, 3, 5


def refuse(message: str) -> NoReturn:
    """One line that says what was wrong and what would be right, and exit code 4."""
    typer.echo(f"embcheck: {visible(' '.join(message.split()))}", err=True)
    raise typer.Exit(USAGE)


def record_at(path: Path) -> Record:
    """The record in a file, or in a folder that ``--report`` wrote; anything else is refused."""
    try:
        return read(path)
    except RecordError as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"can't read the record {error.filename or path}: {error.strerror}")


def lacks(extra: str, error: ImportError) -> NoReturn:
    """Says which extra of embcheck has what is missing, and exit code 4."""
    refuse(f"this needs {error.name}: python -m pip install 'embcheck[{extra}]'")


def law_named(name: str) -> tuple[Family, Law]:
    """The law of a name, and its family; a name that no law has is refused, with close ones."""
    from embcheck.core import aliases
    from embcheck.core.facts import closest
    from embcheck.subject.collect import load_families

    known = {law.name: (family, law) for family in load_families().values() for law in family.laws}
    name = aliases.law(name)
    if name not in known:
        refuse(f"no law {name!r}; {closest(name, known) or 'see `embcheck laws`'}")
    return known[name]


def open_record(report: Path | None, settings: Any, around: dict[str, Any]) -> Writer | None:
    """The record in a folder, its header written; None without a folder; one that can't be written is refused."""
    if report is None:
        return None
    try:
        writer = Writer(report / "record.ndjson")
    except OSError as error:
        refuse(f"can't write the report to {report}: {error.strerror or error}; name a writable folder")
    texts = {name: str(value) for name, value in vars(settings).items() if value is not None}
    writer.header(settings=texts, arguments=sys.argv[1:], **around)
    return writer


def close_record(writer: Writer | None, code: int) -> int:
    """Says where the record is and closes it.  A record that is cut off makes an exit code of 0 an internal error."""
    if writer is None:
        return code
    typer.echo(f"record: {writer.path}" + (f" is cut off: {writer.broken}" if writer.broken else ""))
    writer.close()
    return INTERNAL if writer.broken and not code else code


def keep_failures(found: Iterable[tuple[Counterexample, Machine]], store: Path, **more: Any) -> Path | None:
    """Keeps counterexamples with their scripts for ``embcheck replay``; None if that can't be written."""
    try:
        for example, machine in found:
            keep(example, store, torch=version("torch"), machine=machine.to_dict(), **more)
    except OSError as error:
        typer.echo(f"embcheck: failures can't be kept in {store}: {error.strerror}", err=True)
        return None
    return store
