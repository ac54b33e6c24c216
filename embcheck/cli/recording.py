"""What commands share that judge laws without pytest: the record, kept failures, progress."""

from __future__ import annotations

import sys
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


def open_record(report: Path | None, settings: Any, around: dict[str, Any]) -> Writer | None:
    """The record in a folder, its header written; None without a folder; one that can't be written is refused."""
    if report is None:
        return None
    try:
        writer = Writer(report / "record.ndjson")
    except OSError as error:
        refuse(f"can't write the report to {report}: {unwritable(error)}")
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
