"""Cells as tasks of a ray cluster: each release × shard wherever there is room, on a node that makes its environment.

What a task finishes comes back at once and is kept here, so an interruption or a node that dies loses only what was
under way; ray gives a dead node's tasks to another.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from embcheck.core.files import write_whole
from embcheck.record.record import Record
from embcheck.releases import kept
from embcheck.releases.cell import Cell, Say, Selection, read_folder, run_cell, write_line
from embcheck.releases.environment import Cache, Release, ReleaseError
from embcheck.runner.merge import ShardError, merged, write

#: How often a task is tried again whose worker or node died; seconds that interrupted tasks have to end, and that an
#: address has to answer.
_RETRIES, _GRACE, _KNOCK = 3, 5.0, 10.0

#: What a cell says of a shard that has no item.
_EMPTY = "nothing was selected"


@dataclass(frozen=True)
class Job:
    """A cell that a node is asked for: a release, and all or a shard of what is selected."""

    release: Release
    selection: Selection

    def name(self, source: str) -> str:
        """The same job of the same embcheck has the same name; known before anybody has looked at the release."""
        facts = (self.release.asked, self.release.index, source, *self.selection.facts())
        return f"asked-{hashlib.blake2b(repr(facts).encode(), digest_size=6).hexdigest()}"

    @property
    def lasting(self) -> bool:
        """Whether what is asked for stays what it is: a version does, a nightly and an interpreter don't."""
        return self.release.interpreter is None and self.release.asked != "nightly"


class Cluster:
    """A ray cluster, and the folder here that keeps what its nodes finish."""

    def __init__(self, cache: Cache, source: Path, workers: str, say: Say, address: str = "") -> None:
        """Joins the cluster of ``address``, or one that runs here; starts one on this machine if there is none.

        Raises:
            ImportError: without the extra ``ray``.
            ConnectionError: if there is none at the address.
        """
        import ray

        self._ray, self._cache, self._source, self._workers, self._say = ray, cache, source, workers, say
        # What tasks and nodes say would go to the standard output, among what was asked for.
        if address:
            _reach(address)
        quiet = {"logging_level": "error", "log_to_driver": False}
        try:
            ray.init(address=address or "auto", **quiet)
        except ConnectionError:
            if address:
                raise
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nobody asked for a report to anywhere
            ray.init(address="local", include_dashboard=False, **quiet)
        nodes = [node for node in ray.nodes() if node["Alive"]]
        cores = int(ray.cluster_resources().get("CPU", 0))
        say(f"ray: {len(nodes)} {'node' if len(nodes) == 1 else 'nodes'}, {cores} cores")

    def close(self) -> None:
        """Leaves the cluster; one that was started here ends."""
        self._ray.shutdown()

    def cells(self, wanted: list[Release], selection: Selection, shards: int = 1) -> list[Cell]:
        """The cell of each release, in this order; a cell of several shards is merged once all of them are there.

        Raises:
            KeyboardInterrupt: if the user interrupts; what is finished by then stays.
        """
        parts = [f"{number}/{shards}" for number in range(1, shards + 1)] if shards > 1 else [""]
        jobs = [Job(release, replace(selection, shard=part)) for release in wanted for part in parts]
        done = dict(zip(jobs, self._run(jobs), strict=True))
        return [
            self._whole([done[job] for job in jobs if job.release == release], Job(release, selection))
            for release in wanted
        ]

    def _run(self, jobs: list[Job]) -> list[Cell]:
        """Every job's cell: as it was kept, or from a node."""
        found = {job: cell for job in jobs if (cell := self._kept(job)) is not None}
        pending = self._submitted([job for job in jobs if job not in found])
        try:
            while pending:
                (reference, *_), _ = self._ray.wait(list(pending), num_returns=1)
                job = pending.pop(reference)
                found[job] = self._received(job, reference)
        except KeyboardInterrupt:
            self._cancel(list(pending))
            raise
        return [found[job] for job in jobs]

    def _submitted(self, jobs: list[Job]) -> dict[Any, Job]:
        from embcheck.releases import task

        if not jobs:
            return {}
        self._ray.cloudpickle.register_pickle_by_value(task)
        cores = int(self._workers) if self._workers.isdecimal() else 1
        remote = self._ray.remote(num_cpus=cores, max_retries=_RETRIES)(task.perform)
        code = self._ray.put(dict(_code(self._source)))
        self._say(
            f"ray: {len(jobs)} {'task' if len(jobs) == 1 else 'tasks'} of {cores} {'core' if cores == 1 else 'cores'}"
        )
        return {remote.remote(code, self._described(job, cores)): job for job in jobs}

    def _described(self, job: Job, cores: int) -> dict[str, Any]:
        """A job in plain values: a node has neither these folders, nor this interpreter, nor embcheck before it starts."""
        ledger = Path(job.selection.ledger).read_text(encoding="utf-8") if job.selection.ledger else ""
        return {
            "release": [job.release.asked, job.release.index],
            "selection": asdict(replace(job.selection, ledger="")),
            "ledger": ledger,
            "source": self._source.name,
            "cache": str(self._cache.folder) if self._cache.given else "",
            "python": self._cache.python if self._cache.python != sys.executable else "",
            "needs": self._cache.needs(),
            "workers": str(cores),
        }

    def _received(self, job: Job, reference: Any) -> Cell:
        """What came of a task, kept here if it finished."""
        try:
            cell, files = self._ray.get(reference)
        except (self._ray.exceptions.RayError, ReleaseError) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            return Cell(job.release.asked, problem=f"its task died: {words[:400]}")
        self._say(f"{cell.name}{_of(job)}: {cell.problem or 'finished'}")
        if cell.folder is None:
            return _here(cell)
        folder = self._cache.cells / cell.folder.name
        _lay_out(files, folder)
        if job.lasting:
            write_whole(self._cache.cells / job.name(self._source.name), json.dumps({"folder": folder.name}))
        return _here(replace(cell, folder=folder))

    def _kept(self, job: Job) -> Cell | None:
        """The cell of an earlier command, if it was finished, on a node like this machine."""
        note = kept.remembered(self._cache.cells / job.name(self._source.name)) if job.lasting else None
        if note is None:
            return None
        folder = self._cache.cells / str(note.get("folder"))
        record = read_folder(folder)
        if record is None or not record.complete or not kept.from_here(record.header):
            return None
        self._say(f"{record.torch}{_of(job)}: kept from before")
        return Cell(job.release.asked, record.torch, record, folder=folder, kept=True)

    def _whole(self, cells: list[Cell], job: Job) -> Cell:
        """The cell of all shards of a release: incomplete, in words, if one of them is missing."""
        if len(cells) == 1:
            return cells[0]
        problems = [cell.problem for cell in cells if cell.problem not in ("", _EMPTY)]
        records = [cell.record for cell in cells if cell.record is not None]
        first = next((cell for cell in cells if cell.record is not None), cells[0])
        if not records:
            return replace(first, problem=(problems or [_EMPTY])[0], folder=None)
        try:
            whole = merged(records)
        except ShardError as error:
            return Cell(job.release.asked, first.torch, problem=str(error))
        if problems:
            return replace(first, record=whole, problem=problems[0], folder=None)
        folder = self._merged(whole, [cell.folder for cell in cells if cell.folder is not None], job)
        return replace(first, record=whole, problem="", folder=folder)

    def _merged(self, whole: Record, folders: list[Path], job: Job) -> Path:
        """A folder as a run of the whole leaves it."""
        folder = self._cache.cells / f"{whole.torch}-{job.name(self._source.name)}-merged"
        making = folder.with_name(f"{folder.name}.{os.getpid()}")
        shutil.rmtree(making, ignore_errors=True)
        write(whole, making / "record.ndjson")
        for part in folders:
            if (part / ".embcheck").is_dir():
                shutil.copytree(part / ".embcheck", making / ".embcheck", dirs_exist_ok=True)
        shutil.rmtree(folder, ignore_errors=True)
        making.rename(folder)
        return folder

    def _cancel(self, references: list[Any]) -> None:
        """Interrupts the tasks that are under way, and waits for them to end what they started."""
        for reference in references:
            with contextlib.suppress(Exception):
                self._ray.cancel(reference)
        with contextlib.suppress(Exception):
            self._ray.wait(references, num_returns=len(references), timeout=_GRACE)


def _reach(address: str) -> None:
    """Knocks at a cluster's address, for ray itself tries for minutes.

    Raises:
        ConnectionError: if nobody answers.
    """
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon or not port.isdecimal():
        raise ConnectionError("expected host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(str(error)) from error


def run_job(folder: Path, source: Path, job: dict[str, Any]) -> tuple[Cell, dict[str, bytes]]:
    """On a node: the cell of a job, and the files of its folder."""
    cache = Cache(folder, job["python"], job["needs"])
    with tempfile.TemporaryDirectory() as own:
        selection = Selection(**job["selection"])
        if job["ledger"]:
            ledger = Path(own) / "ledger.toml"
            ledger.write_text(job["ledger"], encoding="utf-8")
            selection = replace(selection, ledger=str(ledger))
        cell = run_cell(cache, Release(*job["release"]), selection, source, job["workers"], write_line)
    return cell, dict(_code(cell.folder)) if cell.folder is not None else {}


def _code(folder: Path) -> Iterator[tuple[str, bytes]]:
    """The files of a folder by their paths in it."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            yield path.relative_to(folder).as_posix(), path.read_bytes()


def _lay_out(files: dict[str, bytes], folder: Path) -> None:
    """Writes a finished cell's folder, whole or not at all; not if it is here already, made by a node on this host."""
    if folder.is_dir():
        return
    making = folder.with_name(f"{folder.name}.{os.getpid()}")
    shutil.rmtree(making, ignore_errors=True)
    for place, content in files.items():
        path = making / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    making.rename(folder)


def _of(job: Job) -> str:
    return f" {job.selection.shard}" if job.selection.shard else ""


def _here(cell: Cell) -> Cell:
    """Without an environment that is on another machine: nothing can be run in it from here."""
    there = cell.environment is not None and cell.environment.python.is_file()
    return cell if there else replace(cell, environment=None)
