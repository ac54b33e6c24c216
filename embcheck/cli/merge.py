"""``embcheck merge``: the records of all shards of a run as one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from embcheck.cli.usage import INTERNAL, record_at, refuse
from embcheck.record.totals import because, verdict_line
from embcheck.runner.merge import ShardError, merged, write
from embcheck.runner.run import UsageError


def merge(
    records: Annotated[list[Path], typer.Argument(metavar="RECORD", help="The shards' records, in any order.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The record to write.")] = Path("record.ndjson"),
) -> None:
    """Merges the records of a run's shards into one, and exits as the whole run would have."""
    try:
        whole = merged([record_at(path) for path in records])
        broken = write(whole, output).broken
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
    why = because(code, whole.settled(), unaccounted=len(items), kept=footer.get("kept", {}), cut=whole.cut)
    typer.echo(verdict_line(code, why))
    raise typer.Exit(code)
