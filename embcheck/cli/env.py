"""``embcheck env``: what a bug report needs of the machine and of what is installed."""

import os
import shlex
import sys
from importlib.util import cache_from_source
from pathlib import Path
from types import ModuleType

import typer

import embcheck
from embcheck.core.configuration import ConfigurationError, defaults
from embcheck.core.machine import flags_of, here
from embcheck.core.options import shown
from embcheck.engine.levels.level import NAMES, lacking, level
from embcheck.runner.run import environment


def env() -> None:
    """Prints versions, the machine, and the CPU levels that can be judged here: what a bug report needs."""
    import torch

    machine = here()
    told = environment(machine)
    versions = ", ".join(f"{name} {number}" for name, number in told["versions"].items())
    absent = {name: lacking(level(name), machine, flags_of(), os.environ) for name in NAMES}
    rows = {
        "versions": versions,
        "python": f"{told['python']} on {told['platform']}",
        "torch": f"{torch.__version__}, git {torch.version.git_version}",
        "machine": f"{machine}, {machine.cores} cores, {machine.threads} threads",
        "levels": ", ".join(name for name, why in absent.items() if not why) or "none to choose",
    }
    if told["variables"]:
        rows["variables"] = ", ".join(f"{name}={value}" for name, value in told["variables"].items())
    bare = [folder for folder in map(_folder, (torch, embcheck)) if sys.dont_write_bytecode and not _compiled(folder)]
    if bare:
        command = f"python -m compileall -q {shlex.join(map(str, bare))}"
        rows["bytecode"] = (
            f"PYTHONDONTWRITEBYTECODE is set, and there is none: each run compiles; write it with {command}"
        )
    try:
        given, path = defaults(Path.cwd())
        if given:
            rows["defaults"] = f"{', '.join(f'{name} = {shown(value)}' for name, value in given.items())} (from {path})"
    except ConfigurationError as error:
        rows["defaults"] = str(error)
    for name, words in rows.items():
        typer.echo(f"{name:9} {words}")
    for name, why in absent.items():
        if why:
            typer.echo(f"{'':9} not {name}: {why}")


def _folder(package: ModuleType) -> Path:
    return Path(package.__file__ or "").parent


def _compiled(folder: Path) -> bool:
    """Whether a package's bytecode was written, as far as its first module tells."""
    return Path(cache_from_source(str(folder / "__init__.py"))).exists()
