"""Releases side by side: what names one, what is kept, what is run again, and where a counterexample turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from command import Command, Patch

from embcheck.cli.releases import exit_code_of
from embcheck.core.verdict import Status, Verdict
from embcheck.engine.exit_lines import OTHERWISE
from embcheck.engine.source import contents, copy, digest
from embcheck.record.grid import Grid, Run
from embcheck.record.record import Record, Writer
from embcheck.releases.bisect import Outcome, Turn, bisect, last_patches, try_script, turns
from embcheck.releases.cell import Cell, Selection, run_cell
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError, UnknownRelease

HERE = Environment(Path(sys.executable), "2.13.0", "a build")


def test_releases_by_name() -> None:
    for asked in ("2.x", "", "latest", "nightly", "/no/such/python"):
        with pytest.raises(UnknownRelease):
            Release(asked)
    assert Release("2.2.2").requirement == ["torch==2.2.2", "numpy<2"], "the numpy that it was built for"
    assert Release("2.4.1").requirement == ["torch==2.4.1", "numpy"]
    assert Release("nightly", "https://x").requirement == ["--prerelease=allow", "torch", "numpy"]
    assert Release(sys.executable).interpreter == Path(sys.executable)
    listed = ["2.10.0", "2.9.0", "2.9.1", "2.3.1", "2.4.1", "2.4.0", "2.11.0rc1", "nonsense", "2.9.1.post1"]
    assert last_patches(listed) == ["2.4.1", "2.9.1.post1", "2.10.0"]


def test_environments_are_deleted_but_those_that_are_kept(tmp_path: Path) -> None:
    cache = Cache(tmp_path)
    for name in ("2.12.0-a1", "2.13.0-a1", "beside-b2"):
        (cache.environments / name).mkdir(parents=True)
    assert cache.remove(frozenset({"2.13.0", sys.executable})) == ["2.12.0-a1"]
    assert cache.remove() == ["2.13.0-a1", "beside-b2"]


def test_a_missing_uv_is_refused_before_anything_is_run(tmp_path: Path, monkeypatch: Patch, command: Command) -> None:
    monkeypatch.setitem(sys.modules, "uv", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    for words in ("releases 2.13.0 2.12.0", f"since {__file__} 2.12.0 2.13.0", "since --known 2.13.0"):
        (line,) = command(*words.split(), "--cache", tmp_path, ends=4).told.splitlines()
        assert line == "embcheck: there is no uv: python -m pip install 'embcheck[releases]'"
    cache, there = Cache(tmp_path), Release("2.13.0")
    folder = cache._folder(there)
    folder.mkdir(parents=True)
    (folder / "finished").write_text("{}")
    assert [cache.makes(each) for each in (there, Release(sys.executable), Release("2.12.0"))] == [False, False, True]


def test_a_copy_of_the_code_runs_by_itself(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    assert folder.name == digest()
    assert copy(tmp_path) == folder
    assert {"embcheck/cli/main.py", "embcheck/properties/core/test_lookup.py", "embcheck/report/page.css"} <= set(
        contents()
    )
    program = "import embcheck.core.ledger; print(embcheck.__file__, embcheck.core.ledger.SHIPPED.is_file())"
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, cwd=tmp_path, env=HERE.variables(folder), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(folder / "embcheck" / "__init__.py"), "True"]


class Laboratory:
    """Stands in for the child that runs the laws: writes a record, or does not."""

    def __init__(self, monkeypatch: Patch, tmp_path: Path) -> None:
        self.cache = Cache(tmp_path)
        self.runs = 0
        self.status, self.stopped, self.said = 0, "finished", ""
        self.footer: dict[str, Any] = {}
        monkeypatch.setattr(self.cache, "environment", lambda release: HERE)
        monkeypatch.setattr("embcheck.releases.cell.subprocess.Popen", self.popen)

    def popen(self, command: list[str], **options: Any) -> Laboratory:
        self.runs += 1
        assert "--embcheck-witnesses=all" in command
        writer = Writer(Path(command[command.index("--report") + 1]) / "record.ndjson")
        writer.header(versions={"torch": "2.13.0"})
        writer.verdict(Verdict("law", "f", "torch", "eager", "scope", Status.HOLDS))
        if self.stopped:
            writer.footer(self.stopped, self.status, cases=1, **self.footer)
        self.stdout = [self.said + "\n"]
        return self

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def cell(self, **more: Any) -> Cell:
        return run_cell(self.cache, Release("2.13.0"), Selection(**more), Path("source"), "1", lambda text: None)


@pytest.fixture
def laboratory(monkeypatch: Patch, tmp_path: Path) -> Laboratory:
    return Laboratory(monkeypatch, tmp_path)


OTHER = ("x86_64", "another CPU")


def test_a_finished_cell_is_kept_until_it_is_torn_or_another_is_due(laboratory: Laboratory, monkeypatch: Patch) -> None:
    first, second = laboratory.cell(), laboratory.cell()
    assert (first.kept, second.kept, laboratory.runs) == (False, True, 1)
    assert first.store is not None
    assert second.record == first.record is not None
    for more in ({"seed": 1}, {"profile": "quick"}, {"keyword": "bag"}, {"modes": "all"}):
        assert not laboratory.cell(**more).kept
    record = first.store / "record.ndjson"
    record.write_text(record.read_text().splitlines()[0] + "\n")
    assert [laboratory.cell().kept for _ in range(2)] == [False, True]
    monkeypatch.setattr("embcheck.releases.cell.machine", lambda: OTHER)
    assert not laboratory.cell().kept
    assert laboratory.runs == 7


@pytest.mark.parametrize(("status", "stopped"), [(2, "interrupted"), (1, ""), (3, "finished"), (-11, "")])
def test_what_did_not_finish_is_told_and_run_again(laboratory: Laboratory, status: int, stopped: str) -> None:
    laboratory.status, laboratory.stopped, laboratory.said = status, stopped, "embcheck: no torch.float8"
    cell = laboratory.cell()
    assert cell.problem == "the laws can't be run: no torch.float8"
    assert not list(laboratory.cache.cells.iterdir())
    laboratory.status, laboratory.stopped = 0, "finished"
    assert not laboratory.cell().problem


def test_a_cell_that_was_finished_meanwhile_is_taken(laboratory: Laboratory, monkeypatch: Patch) -> None:
    first = laboratory.cell()
    assert first.store is not None
    elsewhere = first.store.rename(first.store.with_name("elsewhere"))
    begun = laboratory.wait

    def finished_meanwhile(timeout: float | None = None) -> int:
        assert first.store is not None
        elsewhere.rename(first.store)
        return begun(timeout)

    monkeypatch.setattr(laboratory, "wait", finished_meanwhile)
    second = laboratory.cell()
    assert (second.problem, second.kept, laboratory.runs) == ("", False, 2)
    assert [path.name for path in laboratory.cache.cells.iterdir()] == [first.store.name]


def record(*statuses: Status) -> Record:
    verdicts = [Verdict(f"law{n}", "f", "torch", "eager", "scope", s, cases=1) for n, s in enumerate(statuses)]
    return Record({}, verdicts, {"stopped": "finished", "exit_code": 0})


def test_the_grid_steps_over_what_could_not_be_run() -> None:
    first, last = record(Status.KNOWN, Status.HOLDS), record(Status.HOLDS, Status.HOLDS)
    grid = Grid([Run("a", first), Run("b", None, "no wheel"), Run("c", last)])
    (step,) = grid.steps
    assert (step.before.name, step.after.name, step.changes[0].words) == ("a", "c", "known → holds")
    assert [row.quiet for row in grid.rows] == [False, True]
    assert [square.word for square in grid.rows[0].squares] == ["known", "–", "holds"]


@pytest.mark.parametrize(
    ("statuses", "problem", "code"),
    [
        ([(Status.HOLDS,), (Status.HOLDS,)], "", 0),
        ([(Status.VIOLATED,), (Status.HOLDS,)], "", 0),
        ([(Status.KNOWN,), (Status.KNOWN,)], "", 0),
        ([(Status.HOLDS,), (Status.VIOLATED,), (Status.HOLDS,)], "", 1),
        ([(Status.VIOLATED,), (Status.VIOLATED,)], "", 1),
        ([(Status.HOLDS,), (Status.HOLDS,)], "no wheel", 1),
    ],
)
def test_exit_code_of_a_line_of_releases(statuses: list[tuple[Status, ...]], problem: str, code: int) -> None:
    line = [Cell(str(n), record=record(*found)) for n, found in enumerate(statuses)]
    line[-1] = Cell("last", record=line[-1].record, problem=problem)
    assert exit_code_of(line, Grid(line)) == code


FAILS, RIGHT, DARK = Outcome.FAILS, Outcome.RIGHT, Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ([RIGHT, RIGHT, RIGHT, FAILS], [Turn(2, 3, "first fails in")]),
        ([FAILS, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT], [Turn(0, 1, "first right in")]),
        ([RIGHT, DARK, DARK, FAILS, FAILS], [Turn(0, 3, "first fails in")]),
        ([DARK, RIGHT, FAILS, DARK], [Turn(1, 2, "first fails in")]),
        ([FAILS, FAILS, FAILS], []),
        ([DARK, DARK], []),
        ([], []),
    ],
)
def test_bisection(line: list[Outcome], found: list[Turn]) -> None:
    attempt = Mock(side_effect=line.__getitem__)
    assert turns(bisect(len(line), attempt)) == found
    tried = [call.args for call in attempt.call_args_list]
    assert len(tried) == len(set(tried)), "no release is tried twice"


@pytest.mark.parametrize(
    ("line", "options", "code", "told"),
    [
        ([RIGHT, RIGHT, FAILS, RIGHT, RIGHT], ("--every",), 0,
         ("first fails in 2.2.0 (before it: 2.1.0)", "again right in 2.3.0 (before it: 2.2.0)")),
        ([RIGHT, RIGHT, FAILS, RIGHT, RIGHT], (), 1,
         ("nothing changes: right in 2 releases that could decide it",
          "assumed: it changes at most once; 3 releases not tried (--every tries all)")),
        ([RIGHT, DARK, FAILS], (), 0,
         ("first fails in 2.2.0 (before it: 2.0.0)", "nothing is known of 1 release in which it can't run")),
        ([DARK, DARK], ("--every",), 3, ()),
    ],
)  # fmt: skip
def test_what_is_said_of_a_line_of_releases(
    line: list[Outcome], options: tuple[str, ...], code: int, told: tuple[str, ...], tmp_path: Path,
    command: Command, monkeypatch: Patch,
) -> None:  # fmt: skip
    by_name = {f"2.{n}.0": outcome for n, outcome in enumerate(line)}
    try_script = Mock(side_effect=lambda script, environment, folder: by_name[environment.torch])
    monkeypatch.setattr(Cache, "makes", lambda cache, release: False)
    monkeypatch.setattr(Cache, "environment", lambda cache, release: Environment(Path(), release.asked, ""))
    monkeypatch.setattr("embcheck.cli.since.try_script", try_script)
    (tmp_path / "failure.py").write_text("")
    done = command("since", tmp_path / "failure.py", *by_name, "--cache", tmp_path, *options, ends=code)
    assert [words for words in told if words not in done.out] == []
    for words in ("nothing changes", "assumed"):
        assert (words in done.out) == any(each.startswith(words) for each in told)
    assert try_script.call_count == (len(line) if options else 2 if code else 3)


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("import sys; sys.exit(1)", FAILS),
        ("print('fine')", RIGHT),
        ("import no_such_module", DARK),
        (f"import sys\n{OTHERWISE}\nimport no_such_module", DARK),
        (f"import sys\n{OTHERWISE}\nprint('Traceback (most recent call last)', file=sys.stderr); sys.exit(1)", FAILS),
    ],
)
def test_a_script_is_run_once_and_its_answer_kept(tmp_path: Path, script: str, outcome: Outcome) -> None:
    assert try_script(script, HERE, tmp_path) is outcome
    (path,) = tmp_path.glob("*.py")
    path.unlink()
    assert try_script(script, HERE, tmp_path) is outcome
    assert not list(tmp_path.glob("*.py"))


#: Fails the first time that it is run, as a process does that was killed or had no end.
KILLED_ONCE = "import os, sys; from pathlib import Path; here = Path(__file__).with_name('seen'); " + (
    "old = here.exists(); here.touch(); {}"
)


@pytest.mark.parametrize(
    "end", ["old or os.abort()", "import time; old or time.sleep(600)", "old or [None for _ in iter(int, 1)]"]
)
def test_what_was_killed_or_had_no_end_is_tried_again(tmp_path: Path, monkeypatch: Patch, end: str) -> None:
    monkeypatch.setattr("embcheck.releases.bisect._SECONDS", 2.0)
    monkeypatch.setattr("embcheck.releases.bisect._IDLE", 2.0)
    script = KILLED_ONCE.format(end)
    assert try_script(script, HERE, tmp_path) is DARK
    assert not list(tmp_path.glob("*.json"))
    assert try_script(script, HERE, tmp_path) is RIGHT


def test_a_python_that_hangs_is_no_release_and_is_not_kept(tmp_path: Path, monkeypatch: Patch) -> None:
    monkeypatch.setattr("embcheck.releases.environment._IMPORT", 1.5)
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    with pytest.raises(ReleaseError, match=r"can't be run: no end within 1\.5 s of CPU time"):
        Cache(tmp_path / "cache").environment(Release(str(python)))
    assert not list((tmp_path / "cache").rglob("*"))


def test_an_answer_that_is_torn_or_of_another_machine_is_not_reused(tmp_path: Path, monkeypatch: Patch) -> None:
    script = KILLED_ONCE.format("sys.exit(old)")
    assert [try_script(script, HERE, tmp_path) for _ in range(2)] == [RIGHT, RIGHT]
    (note,) = tmp_path.glob("*.json")
    whole = note.read_text()
    note.write_text(whole[:-9])
    assert try_script(script, HERE, tmp_path) is FAILS, "it was run again"
    note.write_text(whole)
    assert try_script(script, HERE, tmp_path) is RIGHT
    monkeypatch.setattr("embcheck.releases.cell.machine", lambda: OTHER)
    assert try_script(script, HERE, tmp_path) is FAILS, "it was run again"


def test_a_record_that_lacks_an_item_is_no_cell(laboratory: Laboratory) -> None:
    laboratory.status, laboratory.footer = 1, {"unaccounted": {"a/torch/eager/scope/0": "SystemExit: 7"}}
    cell = laboratory.cell()
    assert cell.problem == "incomplete: no verdict from a/torch/eager/scope/0: SystemExit: 7"
    assert not list(laboratory.cache.cells.iterdir())
    fine = Cell("2.15.0", record=record(Status.HOLDS))
    assert exit_code_of([cell, fine], Grid([cell, fine])) == 1, "the last one is complete, the first is not"
    assert exit_code_of([fine, fine], Grid([fine, fine])) == 0
