"""Cells as tasks of a ray cluster, each release × shard wherever there is room.

Its nodes share the cache folder, so what a task finishes is kept as by a run on one machine, and a node that dies loses only
what was under way: ray gives its tasks to another.
"""

import os
import shutil
from dataclasses import replace
from pathlib import Path

from embcheck.releases.cell import Cell, Say, Selection, key, run_cell, write_line
from embcheck.releases.environment import Cache, Release, needs
from embcheck.runner.merge import ShardError, merged, write

#: How often a task is tried again whose worker or node died.
_RETRIES = 3
#: What a cell says of a shard that has no item.
EMPTY = "nothing was selected"


def cells(
    cache: Cache, wanted: list[Release], selection: Selection, source: Path, workers: str, address: str, shards: int
) -> list[Cell]:
    """The cell of each release, in this order, from the cluster at an address; by default one that runs here, or is started.

    Raises:
        ImportError: without the extra ``ray``.
        ConnectionError: if there is none at the address.
        ReleaseError: if embcheck is not installed here.
    """
    import ray

    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for a report to anywhere
    cache.needs = needs()
    path = os.pathsep.join(filter(None, (str(source), os.environ.get("PYTHONPATH"))))
    nodes_import = {"env_vars": {"PYTHONPATH": path}}
    # What tasks and nodes say would go to the standard output, among what was asked for.
    ray.init(address=address or None, runtime_env=nodes_import, logging_level="error", log_to_driver=False)
    try:
        cores = int(workers) if workers.isdecimal() else 1
        task = ray.remote(num_cpus=cores, max_retries=_RETRIES)(run_cell)
        parts = [f"{number}/{shards}" for number in range(1, shards + 1)] if shards > 1 else [""]
        begun = [
            [
                task.remote(cache, release, replace(selection, shard=part), source, str(cores), write_line)
                for part in parts
            ]
            for release in wanted
        ]
        return [
            whole(cache, [_ended(ray, release, one) for one in tasks], selection, source)
            for release, tasks in zip(wanted, begun, strict=True)
        ]
    finally:
        ray.shutdown()


def _ended(ray: object, release: Release, task: object) -> Cell:
    try:
        cell: Cell = ray.get(task)  # type: ignore[attr-defined]
    except ray.exceptions.RayError as error:  # type: ignore[attr-defined]
        return Cell(release.asked, problem=f"its task died: {' '.join(str(error).split())[:400]}")
    return cell


def whole(cache: Cache, parts: list[Cell], selection: Selection, source: Path, say: Say = write_line) -> Cell:
    """The cell of all shards of a release, kept as if it had been run in one; if one of them is missing it says why."""
    problems = [cell.problem for cell in parts if cell.problem not in ("", EMPTY)]
    judged = [cell for cell in parts if cell.record is not None]
    for cell in parts:
        say(f"{cell.name}: {cell.problem or 'finished'}")
    if len(parts) == 1 or not judged:
        return replace(parts[0], problem=(problems or [parts[0].problem])[0])
    first = judged[0]
    try:
        record = merged([cell.record for cell in judged if cell.record is not None])
    except ShardError as error:
        return Cell(first.name, problem=str(error))
    if problems or first.environment is None:
        return replace(first, record=record, problem=problems[0], store=None)
    folder = cache.cells / key(first.environment, selection, source.name)
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    write(record, making / "record.ndjson")
    for cell in judged:
        if cell.store is not None and (cell.store / ".embcheck").is_dir():
            shutil.copytree(cell.store / ".embcheck", making / ".embcheck", dirs_exist_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
    making.rename(folder)
    return replace(first, record=record, store=folder)
