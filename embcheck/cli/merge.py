"""``embcheck merge``: the records of all shards of a run as one."""

from pathlib import Path
from typing import Annotated

import typer

from embcheck.cli.usage import INTERNAL, expect_folder_of, record_at, refuse
from embcheck.record.record import RecordError, read
from embcheck.record.store import gather
from embcheck.record.totals import because, verdict_line
from embcheck.runner.merge import ShardError, merged, write
from embcheck.runner.run import UsageError


def merge(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD", help="The shards' records, in any order.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The record to write.")] = Path("record.ndjson"),
) -> None:
    """Merges the records of a run's shards into one, and exits as the whole run would have.

    The failures that were kept beside them are kept beside it, too.
    """
    expect_folder_of(output)
    try:
        whole = merged([record_at(path) for path in records])
        if whole.shortfall and _is_complete(output):
            refuse(f"{output} is complete, and this one is not: {whole.shortfall}; -o names another file")
        broken = write(whole, output).broken
        for path in records:
            gather(path if path.is_dir() else path.parent, output.parent)
    except (ShardError, UsageError) as error:
        refuse(str(error))
    except OSError as error:
        refuse(f"can't write {output}: {error.strerror}; name a writable file")
    footer = whole.footer or {}
    told = whole.shortfall or f"{footer['cases']:,} cases, digest {footer['digest']}"
    typer.echo(f"{output}: {told}")
    if broken:
        typer.echo(f"{output} is cut off: {broken}", err=True)
        raise typer.Exit(INTERNAL)
    code, items = footer["exit_code"], footer["unaccounted"]
    excused = [tuple(key) for key in footer.get("excused", ())]
    why = because(code, whole.settled(), excused, unaccounted=len(items), kept=footer.get("kept", {}), cut=whole.cut)
    typer.echo(verdict_line(code, why))
    raise typer.Exit(code)


def _is_complete(path: Path) -> bool:
    """Whether a record lies there that lacks nothing."""
    try:
        return path.is_file() and not read(path).shortfall
    except RecordError:
        return False
