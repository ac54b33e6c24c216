"""``embcheck report RECORD …``: one HTML page about one run or several, side by side."""

from pathlib import Path
from typing import Annotated

import typer

from embcheck.cli.usage import expect_folder_of, lacks, record_at, refuse
from embcheck.core.files import write_whole


def report(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD", help="Records, or folders that --report wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The page to write.")] = Path("embcheck.html"),
) -> None:
    """Makes one HTML page of one record or several, which works offline and on paper: exit 1 if a record is incomplete."""
    try:
        from embcheck.report.page import of_record, render
    except ImportError as error:
        lacks("report", error)
    expect_folder_of(output)
    read = [record_at(path) for path in records]
    names = [f"torch {record.torch}" for record in read]
    # Two runs of one release are told apart by their files.
    columns = [
        of_record(record, name if names.count(name) == 1 else str(path), path if path.is_dir() else path.parent)
        for record, name, path in zip(read, names, records, strict=True)
    ]
    try:
        write_whole(output, render(columns))
    except OSError as error:
        refuse(f"can't write {output}: {error.strerror}; name a writable file")
    typer.echo(str(output))
    for record, path in zip(read, records, strict=True):
        if not record.complete:
            typer.echo(f"embcheck: {path} is {record.shortfall}", err=True)
    raise typer.Exit(int(not all(record.complete for record in read)))
