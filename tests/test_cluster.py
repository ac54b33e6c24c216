"""Cells on a ray cluster: the same as elsewhere, kept, and merged from shards."""

import importlib
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Command, Patch

from embcheck.engine.source import copy
from embcheck.releases.cell import Cell, Selection
from embcheck.releases.cluster import cells
from embcheck.releases.environment import Cache, Release

#: Stands in for an interpreter with a torch: says what it has, and runs "the laws", each shard one of them.
INTERPRETER = """#!{python}
import json, sys
from pathlib import Path
if "-c" in sys.argv:
    print(json.dumps({{"torch": "2.13.0", "build": "a build", "lacking": []}}))
    sys.exit(0)
from embcheck.record.record import Writer
from embcheck.core.verdict import Status, Verdict
shard = sys.argv[sys.argv.index("--shard") + 1] if "--shard" in sys.argv else "1/1"
number, count = map(int, shard.split("/"))
with Path({runs!r}).open("a") as file:
    file.write(f"{{shard}}\\n")
writer = Writer(Path(sys.argv[sys.argv.index("--report") + 1]) / "record.ndjson")
writer.header(versions={{"torch": "2.13.0"}}, settings={{"seed": "0", "shard": shard}})
for law in range(number, 5, count):
    writer.verdict(Verdict(f"law{{law}}", "f", "torch", "eager", "scope", Status.HOLDS, cases=law, digest=f"{{law:x}}"))
writer.footer("finished", 0, cases=1, seconds=0.1, digest="0", families={{"f": [len(range(number, 5, count)), 4]}})
"""


class Ray:
    """Stands in for ray: a task is run when it is asked for."""

    exceptions = SimpleNamespace(RayError=RuntimeError)

    def init(self, **options: Any) -> None:
        if options["address"]:
            raise ConnectionError("nobody answers")

    def shutdown(self) -> None:
        pass

    def remote(self, **options: Any) -> Any:
        return lambda function: SimpleNamespace(remote=lambda *given: lambda: function(*given))

    def get(self, task: Any) -> Any:
        return task()


@pytest.fixture(params=["stand-in", "ray"])
def ray(request: pytest.FixtureRequest, monkeypatch: Patch) -> Any:
    """ray itself too, where it is installed."""
    if request.param == "ray":
        pytest.importorskip("ray")
    else:
        monkeypatch.setitem(sys.modules, "ray", Ray())
    return importlib.import_module("ray")


@pytest.fixture
def python(tmp_path: Path) -> Path:
    path = tmp_path / "python"
    path.write_text(INTERPRETER.format(python=sys.executable, runs=str(tmp_path / "runs")))
    path.chmod(0o755)
    return path


def run(python: Path, shards: int = 1) -> list[Cell]:
    cache = Cache(python.parent / "cache")
    return cells(cache, [Release(str(python))], Selection(), copy(cache.sources), "auto", "", shards)


def test_shards_become_one_cell_and_are_kept(ray: Any, python: Path, tmp_path: Path) -> None:
    for shards in (2, 2, 1):
        (cell,) = run(python, shards)
        assert (cell.name, cell.problem) == ("2.13.0", "")
        assert cell.record is not None
        assert cell.record.complete
        assert {verdict.law for verdict in cell.record.verdicts} == {"law1", "law2", "law3", "law4"}
        assert cell.store is not None
        assert (cell.store / "record.ndjson").is_file()
    assert sorted((tmp_path / "runs").read_text().split()) == ["1/2", "2/2"], "once each, and the whole not at all"


def test_what_can_not_be_run_is_a_cell_that_says_so(python: Path, monkeypatch: Patch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray())
    python.write_text(f"#!{sys.executable}\nraise ImportError('no libtorch')\n")
    assert [cell.problem for cell in run(python)] == ["torch can't be imported: ImportError: no libtorch"]
    monkeypatch.setattr(Cache, "environment", lambda cache, release: (_ for _ in ()).throw(RuntimeError("node gone")))
    assert [cell.problem for cell in run(python, 2)] == ["its task died: node gone"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--on", "ray"], "this needs ray: python -m pip install 'embcheck[ray]'"),
        (["--on", "slurm"], "--on 'slurm': expected local or ray"),
        (["--shards", "2"], "--shards and --address are for --on ray"),
        (["--on", "ray", "--shards", "0"], "--shards must be at least 1"),
        (["--on", "ray", "--address", "nowhere:1"], "no ray cluster at nowhere:1: nobody answers"),
    ],
)
def test_what_can_not_be_done_is_told_in_one_line(
    arguments: list[str], words: str, tmp_path: Path, monkeypatch: Patch, command: Command
) -> None:
    monkeypatch.setitem(sys.modules, "ray", Ray() if "--address" in arguments else None)
    told = command("releases", sys.executable, "--cache", tmp_path, *arguments, ends=4).err
    assert words in told
    assert told.count("\n") == 1
