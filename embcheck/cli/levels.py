"""``embcheck run --cpu``: the run at several CPU levels, one after the other, each in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import typer

from embcheck.cli.usage import refuse
from embcheck.core.machine import Machine, flags_of, seen
from embcheck.core.options import COMMAND, options_of
from embcheck.engine.levels.level import DECK, Level, UnknownLevel, evidence, lacking, named, unproved
from embcheck.record.grid import Grid, Run
from embcheck.record.record import Record, RecordError, read
from embcheck.record.store import STORE
from embcheck.report.changes import table
from embcheck.report.style import console

#: Options that are not handed on, or not as they were given.
_OWN = ("cpu", "report", "quiet", "verbose", "profile", "select")


def sweep(given: dict[str, Any], pytest_options: list[str]) -> int:
    """Runs each level that there is here, says what it proved, and prints a table of the laws by level; the exit code.

    Unless something else was asked for, the profile is *quick*, and the families are those whose kernels the levels choose:
    all of the gate, at every level, would take an hour.
    """
    try:
        wanted = named(given["cpu"])
    except UnknownLevel as error:
        refuse(str(error))
    profile = "quick" if given["profile"] == "gate" else given["profile"]
    select = given["select"] or ("" if given["law"] else " or ".join(DECK))
    arguments = ["run", "--quiet", f"--profile={profile}", f"--select={select}"]
    for option in options_of(COMMAND).values():
        value = given[option.parameter]
        if option.name not in _OWN and value != option.default:
            arguments.append(f"--{option.name}" if option.kind is bool else f"--{option.name}={value}")
    arguments += ["--", *pytest_options] if pytest_options else []
    machine, flags, code = seen(), flags_of(), 0
    columns: list[Run] = []
    for level in wanted:
        if absent := lacking(level, machine, flags, os.environ):
            typer.echo(f"{level.name}: not applicable: {absent}")
            continue
        folder = (given["report"] or Path(STORE) / "levels") / level.name
        command = [sys.executable, "-m", "embcheck", *arguments, f"--report={folder}"]
        ended = subprocess.run(command, env=os.environ | level.environment, check=False).returncode
        if ended in (2, -2):
            return 2
        record, words, doubted = _proved(level, folder)
        typer.echo(f"{level.name}: {words}")
        columns.append(Run(level.name, record, store=folder))
        code = max(code, ended if ended >= 0 else 3, int(doubted))
    if any(column.record is not None for column in columns):
        console(width=max(140, 60 + 16 * len(columns))).print(table(Grid(columns), every=True))
    return code


def _proved(level: Level, folder: Path) -> tuple[Record | None, str, bool]:
    """A level's record, what its processes proved, or why not, and whether what was judged there can't be believed."""
    try:
        record = read(folder)
        machine = Machine.of(record.header["machine"])
    except (OSError, KeyError, RecordError):
        return None, "unknown: there is no record", True
    kernels = {"bfloat16": machine.onednn_kernel}
    absent, doubt = unproved(level, machine, kernels)
    told = f"not applicable: {absent}" if absent else f"unknown: {doubt}" if doubt else evidence(machine, kernels)
    return record, told, bool(doubt)
