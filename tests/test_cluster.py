"""Cells on a ray cluster: the same as elsewhere, kept, merged from shards, and finished when a node dies."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from command import Command

from embcheck.core.machine import seen
from embcheck.core.verdict import Status, Verdict
from embcheck.engine.source import copy
from embcheck.record.record import Writer
from embcheck.releases.cell import Cell, Selection
from embcheck.releases.cluster import Cluster, Job
from embcheck.releases.environment import Cache, Release

#: Stands in for an interpreter with a torch: says what it has, and runs "the laws", each shard one of them.
INTERPRETER = """#!{python}
import json, os, sys, time
from pathlib import Path
own = Path({folder!r})
if "-c" in sys.argv:
    print(json.dumps({{"torch": {torch!r}, "build": "a build", "lacking": []}}))
    sys.exit(0)
from embcheck.record.record import Writer
from embcheck.core.verdict import Status, Verdict
report = Path(sys.argv[sys.argv.index("--report") + 1])
shard = sys.argv[sys.argv.index("--shard") + 1] if "--shard" in sys.argv else "1/1"
number, count = map(int, shard.split("/"))
with (own / "runs").open("a") as file:
    file.write(f"{{os.getpid()}} {{shard}}\\n")
while (own / "hold").exists():
    time.sleep(0.05)
writer = Writer(report / "record.ndjson")
writer.header(versions={{"torch": {torch!r}}}, settings={{"seed": "0", "shard": shard}})
for law in range(number, 5, count):
    writer.verdict(Verdict(f"law{{law}}", "f", "torch", "eager", "scope", Status.HOLDS, cases=law, digest=f"{{law:x}}"))
writer.footer("finished", 0, cases=1, seconds=0.1, digest="0", families={{"f": [len(range(number, 5, count)), 4]}})
"""


class Interpreter:
    """A made-up interpreter in a folder of its own."""

    def __init__(self, folder: Path, torch: str) -> None:
        folder.mkdir()
        self.folder, self.path, self.hold = folder, folder / "python", folder / "hold"
        self.path.write_text(INTERPRETER.format(python=sys.executable, folder=str(folder), torch=torch))
        self.path.chmod(0o755)

    def _kept(self, column: int) -> list[str]:
        kept = self.folder / "runs"
        return [line.split()[column] for line in kept.read_text().splitlines()] if kept.is_file() else []

    @property
    def runs(self) -> list[str]:
        """The shards that were run, in the order in which they began."""
        return self._kept(1)

    @property
    def alive(self) -> bool:
        """Whether what began last still runs."""
        pids = self._kept(0)
        try:
            return bool(pids) and Path(f"/proc/{pids[-1]}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except OSError:
            return False


def wait_until(happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 3600
    while not happened() and time.monotonic() < until:
        time.sleep(0.1)


@pytest.fixture
def interpreters(tmp_path: Path) -> list[Interpreter]:
    return [Interpreter(tmp_path / name, name) for name in ("2.13.0", "2.15.0")]


@pytest.fixture
def nodes() -> Iterator[Any]:
    """A real cluster of two nodes of one core, on this machine."""
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster as Nodes

    cluster = Nodes(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster
    finally:
        cluster.shutdown()


def run(cache: Cache, nodes: Any, interpreters: list[Interpreter], shards: int = 1, **more: Any) -> list[Cell]:
    said: list[str] = []
    cluster = Cluster(cache, copy(cache.sources), "auto", said.append, nodes.address)
    try:
        return cluster.cells([Release(str(one.path)) for one in interpreters], Selection(**more), shards)
    finally:
        cluster.close()


def laws(cell: Cell) -> set[str]:
    assert cell.record is not None
    return {verdict.law for verdict in cell.record.verdicts}


def test_shards_become_one_cell_and_are_kept(nodes: Any, interpreters: list[Interpreter], tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    for _ in range(2):
        cells = run(cache, nodes, interpreters, shards=2)
        assert [(cell.name, cell.problem) for cell in cells] == [("2.13.0", ""), ("2.15.0", "")]
        for cell in cells:
            assert laws(cell) == {"law1", "law2", "law3", "law4"}
            assert cell.record is not None
            assert cell.record.complete
            assert cell.folder is not None
            assert (cell.folder / "record.ndjson").is_file()
    assert [sorted(one.runs) for one in interpreters] == [["1/2", "2/2"], ["1/2", "2/2"]], "once each"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="looks at processes through /proc")
def test_a_killed_node_loses_nothing(nodes: Any, interpreters: list[Interpreter], tmp_path: Path) -> None:
    second = nodes.add_node(num_cpus=1)
    for one in interpreters:
        one.hold.touch()

    def kill() -> None:
        wait_until(lambda: all(one.runs for one in interpreters))
        nodes.remove_node(second, allow_graceful=False)
        wait_until(lambda: not all(one.alive for one in interpreters))  # what a dead worker began ends with it
        for one in interpreters:
            one.hold.unlink()

    thread = threading.Thread(target=kill)
    thread.start()
    cells = run(Cache(tmp_path / "cache"), nodes, interpreters)
    thread.join()
    assert [(cell.name, cell.problem) for cell in cells] == [("2.13.0", ""), ("2.15.0", "")]
    assert sorted(len(one.runs) for one in interpreters) == [1, 2], "one of the two had to begin again"


def test_what_can_not_be_run_is_a_cell_that_says_so(
    nodes: Any, interpreters: list[Interpreter], tmp_path: Path
) -> None:
    interpreters[0].path.write_text(f"#!{sys.executable}\nraise ImportError('no libtorch')\n")
    bad, good = run(Cache(tmp_path / "cache"), nodes, interpreters)
    assert bad.problem == "torch can't be imported: ImportError: no libtorch"
    assert laws(good) == {"law1", "law2", "law3", "law4"}


def test_what_a_node_finished_is_kept_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without any cluster: the note that a version's cell leaves, and what is not to be trusted to a note."""
    cluster = Cluster.__new__(Cluster)
    cluster._cache, cluster._source, cluster._say = Cache(tmp_path), Path("source"), lambda text: None
    job = Job(Release("2.13.0"), Selection(shard="1/2"))
    assert cluster._kept(job) is None
    there = tmp_path / "elsewhere" / "2.13.0-abc"
    writer = Writer(there / "record.ndjson")
    writer.header(versions={"torch": "2.13.0"}, machine=seen().to_dict())
    writer.verdict(Verdict("law", "f", "torch", "eager", "scope", Status.HOLDS))
    writer.footer("finished", 0)
    files = {"record.ndjson": (there / "record.ndjson").read_bytes()}
    finished = Cell("2.13.0", "2.13.0", folder=there)

    class Ray:
        class exceptions:  # noqa: N801
            RayError = RuntimeError

        @staticmethod
        def get(reference: Any) -> Any:
            return finished, files

    cluster._ray = Ray()
    received = cluster._received(job, None)
    assert received.folder == tmp_path / "cells" / "2.13.0-abc"
    kept = cluster._kept(job)
    assert kept is not None
    assert (kept.torch, kept.kept, laws(kept)) == ("2.13.0", True, {"law"})
    with monkeypatch.context() as patch:
        patch.setattr("embcheck.releases.kept.machine", lambda: ("x86_64", "another CPU"))
        assert cluster._kept(job) is None, "its node was like this machine, which is another one now"
    assert cluster._kept(replace(job, selection=Selection(shard="2/2"))) is None
    assert not Job(Release(sys.executable), Selection()).lasting
    assert not Job(Release("nightly", "https://x"), Selection()).lasting


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--on", "ray"], "this needs ray: python -m pip install 'embcheck[ray]'"),
        (["--on", "slurm"], "--on 'slurm': expected local or ray"),
        (["--shards", "2"], "--shards and --address are for --on ray"),
        (["--on", "ray", "--shards", "0"], "--shards must be at least 1"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = command("releases", sys.executable, "--cache", tmp_path, *arguments)
    assert (done.code, done.err.count("\n")) == (4, 1)
    assert words in done.err


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:99999999"])
def test_an_address_where_nobody_answers_is_told_at_once(address: str, tmp_path: Path, command: Command) -> None:
    pytest.importorskip("ray")
    done = command("releases", sys.executable, "--cache", tmp_path, "--on", "ray", "--address", address)
    assert (done.code, f"no ray cluster at {address}: " in done.err) == (4, True)
