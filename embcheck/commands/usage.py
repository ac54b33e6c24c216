"""What all commands share: exit codes, and how bad input is refused."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

import typer

from embcheck.records.record import Record, RecordError, read

#: Exit codes: what was asked for can't be; something went wrong inside; nothing was selected.
USAGE, INTERNAL, NOTHING = 4, 3, 5


def refuse(message: str) -> NoReturn:
    """One line that says what was wrong and what would be right, and exit code 4."""
    typer.echo(f"embcheck: {message}", err=True)
    raise typer.Exit(USAGE)


def record_at(path: Path) -> Record:
    """The record in a file, or in a folder that ``--report`` wrote; anything else is refused."""
    file = path / "record.ndjson" if path.is_dir() else path
    try:
        return read(file)
    except RecordError as error:
        refuse(str(error))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        refuse(f"can't read the record {file}: {reason}")


def lacks(extra: str, error: ImportError) -> NoReturn:
    """Says which extra of embcheck has what is missing, and exit code 4."""
    refuse(f"this needs {error.name}: python -m pip install 'embcheck[{extra}]'")
