"""Releases side by side: what names one, what is kept, what is run again, and where a counterexample turns."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from embcheck.commands.releases import _code
from embcheck.records.grid import Grid, Run
from embcheck.records.record import Record, Writer
from embcheck.releases.bisect import bisect, last_patches
from embcheck.releases.cell import Cell, Selection, run_cell
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError, UnknownRelease
from embcheck.releases.trial import Outcome, try_script
from embcheck.source import contents, copy, digest
from embcheck.verdict import Status, Verdict

HERE = Environment(Path(sys.executable), "2.13.0", "a build")


@pytest.mark.parametrize("asked", ["2.x", "", "latest", "nightly", "/no/such/python"])
def test_what_names_no_release_is_refused(asked: str) -> None:
    with pytest.raises(UnknownRelease):
        Release(asked)


def test_old_releases_get_the_numpy_they_were_built_for() -> None:
    assert Release("2.2.2").requirement == ["torch==2.2.2", "numpy<2"]
    assert Release("2.4.1").requirement == ["torch==2.4.1", "numpy"]
    assert Release("nightly", "https://x").requirement[-2:] == ["torch", "numpy"]
    assert Release(sys.executable).interpreter == Path(sys.executable)


def test_a_copy_of_the_code_runs_by_itself(tmp_path: Path) -> None:
    folder = copy(tmp_path)
    assert folder.name == digest()
    assert copy(tmp_path) == folder
    assert {"embcheck/cli.py", "embcheck/properties/test_lookup.py", "embcheck/report/page.css"} <= set(contents())
    command = [
        sys.executable,
        "-c",
        "import embcheck.ledger; print(embcheck.__file__, embcheck.ledger.SHIPPED.is_file())",
    ]
    done = subprocess.run(command, cwd=tmp_path, env=HERE.variables(folder), capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(folder / "embcheck" / "__init__.py"), "True"]


class Laboratory:
    """Stands in for the child that runs the laws: writes a record, or does not."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        self.cache = Cache(tmp_path)
        self.runs = 0
        self.status, self.stopped, self.said = 0, "finished", ""
        monkeypatch.setattr(self.cache, "environment", lambda release: HERE)
        monkeypatch.setattr("embcheck.releases.cell.subprocess.Popen", self.popen)

    def popen(self, command: list[str], **options: Any) -> Laboratory:
        self.runs += 1
        assert "--embcheck-witnesses=all" in command
        writer = Writer(Path(command[command.index("--report") + 1]) / "record.ndjson")
        writer.header(versions={"torch": "2.13.0"})
        writer.verdict(Verdict("law", "f", "torch", "eager", "scope", Status.HOLDS))
        if self.stopped:
            writer.footer(self.stopped, self.status, cases=1)
        self.stdout = [self.said + "\n"]
        return self

    def wait(self, timeout: float | None = None) -> int:
        return self.status

    def cell(self, **more: Any) -> Cell:
        return run_cell(self.cache, Release("2.13.0"), Selection(**more), Path("source"), "1", lambda text: None)


@pytest.fixture
def laboratory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Laboratory:
    return Laboratory(monkeypatch, tmp_path)


def test_a_finished_cell_is_kept_and_another_selection_is_another_cell(laboratory: Laboratory) -> None:
    first, second = laboratory.cell(), laboratory.cell()
    assert (first.kept, second.kept, laboratory.runs) == (False, True, 1)
    assert first.record is not None
    assert second.record == first.record
    for more in ({"seed": 1}, {"profile": "quick"}, {"keyword": "bag"}, {"modes": "all"}):
        assert not laboratory.cell(**more).kept
    assert laboratory.runs == 5


@pytest.mark.parametrize(("status", "stopped"), [(2, "interrupted"), (1, ""), (3, "finished"), (-11, "")])
def test_what_did_not_finish_is_told_and_run_again(laboratory: Laboratory, status: int, stopped: str) -> None:
    laboratory.status, laboratory.stopped, laboratory.said = status, stopped, "embcheck: no torch.float8"
    cell = laboratory.cell()
    assert cell.problem == "the laws can't be run: no torch.float8"
    assert not list(laboratory.cache.cells.iterdir())
    laboratory.status, laboratory.stopped = 0, "finished"
    assert not laboratory.cell().problem


def test_a_cell_that_was_finished_meanwhile_is_taken(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    first = laboratory.cell()
    assert first.folder is not None
    elsewhere = first.folder.rename(first.folder.with_name("elsewhere"))
    begun = laboratory.wait

    def finished_meanwhile(timeout: float | None = None) -> int:
        assert first.folder is not None
        elsewhere.rename(first.folder)
        return begun(timeout)

    monkeypatch.setattr(laboratory, "wait", finished_meanwhile)
    second = laboratory.cell()
    assert (second.problem, second.kept, laboratory.runs) == ("", False, 2)
    assert [path.name for path in laboratory.cache.cells.iterdir()] == [first.folder.name]


def test_a_release_that_cannot_be_installed_is_a_cell_that_says_so(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(release: Release) -> Environment:
        raise ReleaseError("can't be installed: no wheel")

    monkeypatch.setattr(laboratory.cache, "environment", fails)
    cell = laboratory.cell()
    assert (cell.name, cell.record, cell.problem) == ("2.13.0", None, "can't be installed: no wheel")


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
    assert _code(line, Grid(line)) == code


FAILS, RIGHT, DARK = Outcome.FAILS, Outcome.RIGHT, Outcome.UNDECIDED


@pytest.mark.parametrize(
    ("line", "turn", "words"),
    [
        ([RIGHT, RIGHT, RIGHT, FAILS], (2, 3), "first fails in"),
        ([FAILS, RIGHT, RIGHT, RIGHT, RIGHT, RIGHT], (0, 1), "first right in"),
        ([RIGHT, DARK, DARK, FAILS, FAILS], (0, 3), "first fails in"),
        ([DARK, RIGHT, FAILS, DARK], (1, 2), "first fails in"),
        ([FAILS, FAILS, FAILS], (None, None), ""),
        ([DARK, DARK], (None, None), ""),
        ([], (None, None), ""),
    ],
)
def test_bisection(line: list[Outcome], turn: tuple[int | None, int | None], words: str) -> None:
    tried: list[int] = []

    def attempt(number: int) -> Outcome:
        tried.append(number)
        return line[number]

    found = bisect(len(line), attempt)
    assert ((found.last_before, found.first_after), found.words) == (turn, words)
    assert len(tried) == len(set(tried)), "no release is tried twice"


def test_bisection_tries_few() -> None:
    line = [RIGHT] * 700 + [FAILS] * 300
    found = bisect(1000, line.__getitem__)
    assert found.first_after == 700
    assert len(found.outcomes) <= 12


def test_of_each_minor_release_the_last_patch() -> None:
    listed = ["2.10.0", "2.9.0", "2.9.1", "2.3.1", "2.4.1", "2.4.0", "2.11.0rc1", "nonsense", "2.9.1.post1"]
    assert last_patches(listed) == ["2.4.1", "2.9.1.post1", "2.10.0"]


@pytest.mark.parametrize(
    ("script", "outcome"),
    [
        ("import sys; sys.exit(1)", FAILS),
        ("print('fine')", RIGHT),
        ("import no_such_module", DARK),
        ("import os; os.abort()", DARK),
    ],
)
def test_a_script_is_run_once_and_its_answer_kept(tmp_path: Path, script: str, outcome: Outcome) -> None:
    assert try_script(script, HERE, tmp_path) is outcome
    (path,) = tmp_path.glob("*.py")
    path.unlink()
    assert try_script(script, HERE, tmp_path) is outcome
    assert not list(tmp_path.glob("*.py"))
