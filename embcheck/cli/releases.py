"""``embcheck releases V1 V2 …``: the laws in many torch releases, and what changed from one to the next."""

import contextlib
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any

import typer

from embcheck.cli.parameters import with_options
from embcheck.cli.usage import NOTHING, lacks, refuse
from embcheck.core.files import unwritable, write_whole
from embcheck.core.options import is_workers
from embcheck.core.verdict import Status
from embcheck.engine.source import copy
from embcheck.record.compare import Change, Key
from embcheck.record.grid import Grid, Run, Step
from embcheck.record.store import STORE
from embcheck.releases.bisect import try_script
from embcheck.releases.cell import Cell, Selection, run_cell, write_line
from embcheck.releases.environment import NO_UV, Cache, Release, ReleaseError, UnknownRelease, uv_program
from embcheck.report.changes import show_grid
from embcheck.report.style import console
from embcheck.runner.run import Settings, UsageError

#: Changes of one step whose scripts are run.
_TRIED = 12

CacheFolder = Annotated[
    Path | None,
    typer.Option("--cache", envvar="EMBCHECK_CACHE", help="Where environments and finished results are kept."),
]
Index = Annotated[str, typer.Option("--index", help="A package index to install torch from; nightly needs one.")]
Python = Annotated[str, typer.Option("--python", help="The Python of new environments: a version or a path.")]


@with_options("profile", "seed", "select", "mode", "ledger", "workers", "report")
def releases(
    asked: Annotated[
        list[str] | None,
        typer.Argument(metavar="RELEASE", help="Versions of torch, nightly, or paths of interpreters."),
    ] = None,
    on: Annotated[
        str, typer.Option("--on", help="local (one release at a time) or ray (as tasks of a cluster).")
    ] = "local",
    address: Annotated[
        str, typer.Option("--address", help="The ray cluster; by default one that runs here, or else a new one.")
    ] = "",
    shards: Annotated[
        int, typer.Option("--shards", help="With --on ray: into how many tasks each release is split.")
    ] = 1,
    index: Index = "",
    python: Python = "",
    cache: CacheFolder = None,
    every: Annotated[bool, typer.Option("--all", help="Also show the laws that hold in every release.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="Delete the environments of releases not named here.")] = False,
    clean: Annotated[bool, typer.Option("--clean", help="Delete all environments and all kept results.")] = False,
    **given: Any,
) -> None:
    """Runs the laws in each release with the same seed and shows what got fixed, what broke, what is new.

    Finished results are kept, so after an interruption the same command continues.  Exit 1 if a law broke between two
    releases, the last release violates one or could not be run, or a record is incomplete.
    """
    profile, seed, mode, workers = (given[name] for name in ("profile", "seed", "mode", "workers"))
    try:
        Settings(seed, profile, modes=mode).checked()
    except UsageError as error:
        refuse(str(error))
    if on not in ("local", "ray"):
        refuse(f"--on {on!r}: expected local or ray")
    if on == "local" and (shards != 1 or address):
        refuse("--shards and --address are for --on ray")
    if shards < 1 or not is_workers(workers):
        refuse("--shards must be at least 1, and --workers auto or a number of at least 1")
    held, wanted = resources(asked, index, python, cache, needed=not clean, here=on == "local")
    if clean or prune:
        for name in held.remove(frozenset() if clean else frozenset(release.asked for release in wanted)):
            typer.echo(f"deleted the environment {name}", err=True)
    for folder in (held.cells, held.sources, held.folder / "trials") if clean else ():
        shutil.rmtree(folder, ignore_errors=True)
    if not wanted:
        return
    ledger = str(given["ledger"].absolute()) if given["ledger"] else ""
    selection = Selection(profile, seed, given["select"], mode, ledger)
    if on == "local":
        # A copy, so that an edit in the checkout does not change what a long run compares.
        source = copy(held.sources)
        cells = [run_cell(held, release, selection, source, workers, write_line) for release in wanted]
    else:
        cells = _on_ray(held, wanted, selection, workers, shards, address)
    _show(held, cells, given["report"], every)


def resources(
    asked: list[str] | None, index: str, python: str, cache: Path | None, *, needed: bool, here: bool = True
) -> tuple[Cache, list[Release]]:
    """The cache and the releases that the command line names; bad ones are refused, and so are those whose environments are
    to be made ``here`` if that can't be."""
    try:
        held = Cache(cache, python)
        wanted = [Release(name, index) for name in asked or ()]
    except UnknownRelease as error:
        refuse(str(error))
    except ImportError as error:
        lacks("releases", error)
    try:
        held.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        refuse(f"can't use the cache {held.folder}: {error.strerror}; --cache names another folder")
    if needed and not wanted:
        refuse("name at least one release, such as 2.9.1 2.13.0, or the path of an interpreter that has a torch")
    if here and any(map(held.makes, wanted)) and uv_program() is None:
        refuse(NO_UV)
    return held, wanted


def _on_ray(
    cache: Cache, wanted: list[Release], selection: Selection, workers: str, shards: int, address: str
) -> list[Cell]:
    from embcheck.releases.cluster import cells

    # ray tells of dead nodes on the standard output, which is for what was asked for.
    with contextlib.redirect_stdout(sys.stderr):
        try:
            return cells(cache, wanted, selection, copy(cache.sources), workers, address, shards)
        except ImportError as error:
            lacks("ray", error)
        except ConnectionError as error:
            refuse(f"no ray cluster at {address}: {' '.join(str(error).split())[:200]}")
        except ReleaseError as error:
            refuse(str(error))


def _show(cache: Cache, cells: list[Cell], report: Path | None, every: bool) -> None:
    grid = Grid(cells)
    trials = {number: _trials(cache, cells, step) for number, step in enumerate(grid.steps)}
    out = console(width=max(140, 60 + 16 * len(cells)))
    show_grid(grid, out, every=every, trials=trials)
    if report is not None:
        _write(report, cells, trials)
    if all(cell.problem == "nothing was selected" for cell in cells):
        raise typer.Exit(NOTHING)
    raise typer.Exit(exit_code_of(cells, grid))


def exit_code_of(cells: list[Cell], grid: Grid) -> int:
    """1 if a step broke a law, the last release fails one, or a release has no whole record; else 0."""
    broke = any(change.move.bad for step in grid.steps for change in step.changes)
    last = any(verdict.status >= Status.UNKNOWN for verdict in grid.settled[-1])
    lacking = any(cell.record is not None and not cell.record.complete for cell in cells)
    return int(broke or last or lacking or bool(cells[-1].problem))


def _trials(cache: Cache, cells: list[Cell], step: Step) -> dict[Key, str]:
    """What the scripts of a step's changes say in the two releases: the change seen without embcheck."""
    by_name = {cell.name: cell for cell in cells}
    sides = [by_name[column.name] for column in (step.before, step.after)]
    told = {}
    tried = [(c, s) for c in step.changes if (s := script_of(c))][:_TRIED]
    if tried:
        write_line(f"{step.before.name} and {step.after.name}: running {len(tried)} scripts of what changed")
    for change, script in tried:
        outcomes = [
            f"{side.name} {try_script(script, side.environment, cache.folder / 'trials').value}"
            for side in sides
            if side.environment is not None
        ]
        told[change.key] = ", ".join(outcomes)
    return told


def script_of(change: Change) -> str:
    """The script of the case that a change is about; empty if there is none."""
    sides = [side for side in (change.after, change.before) if side is not None]
    return next((e.script for side in sides for e in side.counterexamples if e.script), "")


def _write(report: Path, cells: list[Cell], trials: dict[int, dict[Key, str]]) -> None:
    """Copies the records and failures to a folder, and writes the page if it can be made."""
    try:
        report.mkdir(parents=True, exist_ok=True)
        for cell in cells:
            if cell.store is not None:
                shutil.copyfile(cell.store / "record.ndjson", report / f"{cell.name}.ndjson")
                if (cell.store / STORE).is_dir():
                    shutil.copytree(cell.store / STORE, report / STORE, dirs_exist_ok=True)
        if find_spec("jinja2") is not None:
            from embcheck.report.page import render

            columns = [Run(cell.name, cell.record, cell.problem, report) for cell in cells]
            write_whole(report / "report.html", render(columns, trials, "embcheck releases"))
    except OSError as error:
        refuse(f"can't write the report to {report}: {unwritable(error)}")
