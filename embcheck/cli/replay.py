"""``embcheck replay``: a kept failure, run again."""

import os
import subprocess
import sys
from typing import Annotated, Any

import typer

from embcheck.cli.audit import replayed as replayed_audit
from embcheck.cli.usage import INTERNAL, Store, refuse, where_kept
from embcheck.core.declaration import VARIABLE
from embcheck.core.replay_state import EXIT_CODES
from embcheck.engine.levels.level import without_level
from embcheck.record.audited import FAMILY
from embcheck.record.store import StoreError, imports_of, recorded, script_of


def replay(
    failure: Annotated[str, typer.Argument(help="The id that a violation was printed with, or its beginning.")],
    script: Annotated[
        bool, typer.Option("--script", help="Print the program, which needs only torch, and don't run it.")
    ] = False,
    store: Store = None,
) -> None:
    """Runs a recorded failure again: FAILED (exit 1), FIXED (exit 0) or ERROR (exit 3)."""
    store = where_kept(failure, store)
    try:
        record = recorded(failure, store)
        if script:
            typer.echo(script_of(failure, store), nl=False)
            return
    except StoreError as error:
        refuse(str(error))
    caps = dict(cap.split("=", 1) for cap in record.get("machine", {}).get("caps", ()))
    if any(os.environ.get(name) != value for name, value in caps.items()):
        # In a process with the variables that chose the kernels then.
        command = [sys.executable, "-m", "embcheck", "replay", failure, "--store", str(store)]
        code = subprocess.run(command, env=os.environ | caps, check=False).returncode
        raise typer.Exit(INTERNAL if code < 0 else code)  # below 0 it was killed
    if imported := imports_of(record):
        typer.echo(f"embcheck: imports {imported}, as the record says", err=True)
    typer.echo(f"embcheck: judges {record['law']} on {record['case']}", err=True)
    device = without_level(record["device"])
    outcome, words = (replayed_audit if record["family"] == FAMILY else _replayed)({**record, "device": device})
    typer.echo(f"{outcome}  {record['law']} · {record['mode']}  {record['case']}" + (f"\n  {words}" if words else ""))
    raise typer.Exit(EXIT_CODES[outcome])


def _replayed(record: dict[str, Any]) -> tuple[str, str]:
    from embcheck.runner.replay import replay

    if record["subject"] != "torch":
        # For this process and the one that tries the case first: subjects are found from the working directory.
        os.environ[VARIABLE] = record["subject"]
        if os.path.isdir(folder := record.get("folder", "")):
            os.chdir(folder)
    return replay(record)
