"""What commands share that judge laws without pytest: the record, kept failures, progress."""

from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import typer

from embcheck.cli.usage import INTERNAL, refuse
from embcheck.core.files import unwritable
from embcheck.core.machine import Machine
from embcheck.core.verdict import Counterexample
from embcheck.record.record import Writer
from embcheck.record.store import keep


def open_record(folder: Path | None, what: str, **facts: Any) -> Writer:
    """The record in a folder, its header written; nothing is without one; one that can't be written is refused."""
    try:
        writer = Writer(folder / "record.ndjson" if folder is not None else None)
    except OSError as error:
        refuse(f"can't write {what} {folder}: {unwritable(error)}")
    writer.header(**facts)
    return writer


def close_record(writer: Writer, code: int) -> int:
    """Says where the record is and closes it.  A record that is cut off makes an exit code of 0 an internal error."""
    if writer.writes:
        typer.echo(writer.place)
    writer.close()
    return INTERNAL if writer.broken and not code else code


def keep_failures(found: Iterable[Counterexample], machine: Machine, store: Path, **more: Any) -> Path | None:
    """Keeps counterexamples with their scripts for ``embcheck replay``; None if that can't be written."""
    try:
        for example in found:
            keep(example, store, torch=version("torch"), machine=machine.to_dict(), **more)
    except OSError as error:
        typer.echo(f"embcheck: failures can't be kept in {store}: {error.strerror}", err=True)
        return None
    return store
