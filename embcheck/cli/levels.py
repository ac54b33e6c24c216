"""``embcheck run --cpu``: the run at several CPU levels, one after the other, each in processes of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer

from embcheck.cli.usage import refuse
from embcheck.core.machine import Machine, flags_of, seen
from embcheck.core.options import COMMAND, options_of
from embcheck.engine.levels.level import Level, UnknownLevel, evidence, lacking, named, unproved
from embcheck.record.record import RecordError, read
from embcheck.record.store import STORE

#: Options that are not handed on, or not as they were given.
_OWN = ("cpu", "report", "quiet", "verbose", "profile")


def sweep(given: dict[str, Any], pytest_options: list[str]) -> int:
    """Runs each level that there is here and says what it proved; the exit code.

    The profile is *quick* unless another was asked for: the gate's, at every level, would take an hour.
    """
    try:
        wanted = named(given["cpu"])
    except UnknownLevel as error:
        refuse(str(error))
    profile = "quick" if given["profile"] == "gate" else given["profile"]
    arguments = [
        "run",
        "--quiet",
        f"--profile={profile}",
        *_handed_on(given),
        *(["--", *pytest_options] if pytest_options else []),
    ]
    machine, flags, code = seen(), flags_of(), 0
    for level in wanted:
        if absent := lacking(level, machine, flags, os.environ):
            typer.echo(f"{level.name}: not applicable: {absent}")
            continue
        folder = (given["report"] or Path(STORE) / "levels") / level.name
        command = [sys.executable, "-m", "embcheck", *arguments, f"--report={folder}"]
        ended = subprocess.run(command, env=os.environ | level.environment, check=False).returncode
        doubt, words = _proved(level, folder)
        typer.echo(f"{level.name}: {words}")
        if ended in (2, -2):
            return 2
        code = max(code, ended if ended >= 0 else 3, int(doubt))
    return code


def _handed_on(given: dict[str, Any]) -> Iterator[str]:
    for option in options_of(COMMAND).values():
        value = given[option.parameter]
        if option.name not in _OWN and value != option.default:
            yield f"--{option.name}" if option.kind is bool else f"--{option.name}={value}"


def _proved(level: Level, folder: Path) -> tuple[bool, str]:
    """Whether what was judged at a level can't be believed, and what its processes proved, or why not."""
    try:
        machine = Machine.of(read(folder).header["machine"])
    except (OSError, KeyError, RecordError):
        return True, "unknown: there is no record"
    kernels = {"bfloat16": machine.onednn_kernel}
    absent, doubt = unproved(level, machine, kernels)
    told = f"not applicable: {absent}" if absent else f"unknown: {doubt}" if doubt else evidence(machine, kernels)
    return bool(doubt), told
