"""Kept failures are named on the screen.  --last-failed tries them first, and forgets one only when replay says FIXED."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import warm
from records import ended
from test_screen import EXAMPLE, printed, run_of, violated

from embcheck.core.declaration import VARIABLE
from embcheck.core.machine import here
from embcheck.record.store import STORE, kept_in
from embcheck.record.totals import because
from embcheck.report import document, junit, sarif
from embcheck.report.failure import chosen
from embcheck.runner import last_failed
from embcheck.runner.run import Settings

WORKFLOW = (Path(__file__).parents[1] / "ci" / "workflows" / "nightly.yml").read_text(encoding="utf-8")

#: What replay says of each failure, by its id, and how it ends.
ANSWERS = {
    "aaaaaa": ("FIXED  law  LookupCase()", 0),
    "bbbbbb": ("FAILED  law  LookupCase()", 1),
    "cccccc": ("ERROR  law  LookupCase()\n  raised ValueError", 3),
    "dddddd": ("", 0),
    "eeeeee": ("", -9),
    "ffffff": ("FIXED  law  LookupCase()", 1),
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with all failures, and a replay that answers as it should."""
    folder = tmp_path / STORE
    folder.mkdir()
    for failure in ANSWERS:
        (folder / f"{failure}.json").write_text("{}")
        (folder / f"{failure}.py").write_text("")
    (folder / "notes.json").write_text("{}")

    def run(command: list[str], env: dict[str, str], **given: Any) -> Any:
        assert command[:4] == [sys.executable, "-m", "embcheck", "replay"]
        assert command[5:] == ["--store", str(folder)]
        assert VARIABLE not in env
        said, code = ANSWERS[command[4]]
        return SimpleNamespace(stdout=said, stderr="", returncode=code)

    monkeypatch.setenv(VARIABLE, "mine:Layer")
    monkeypatch.setattr(subprocess, "run", run)
    return folder


@pytest.mark.parametrize("jobs", [1, 4])
def test_only_what_is_fixed_is_forgotten(store: Path, jobs: int) -> None:
    answers = list(last_failed.retried(store, jobs))
    left = [failure for failure in ANSWERS if failure != "aaaaaa"]
    assert [answer.failure for answer in answers] == list(ANSWERS)
    assert kept_in(store) == left == list(last_failed.still(answers))
    assert sorted(path.stem for path in store.glob("*.py")) == left
    assert (store / "notes.json").is_file()
    assert list(last_failed.retried(store / "nowhere")) == []
    assert answers[0].line == "kept aaaaaa: FIXED law LookupCase(); forgotten"
    assert answers[2].line == "kept cccccc: ERROR law LookupCase() raised ValueError"
    assert answers[4].line == "kept eeeeee: ERROR replay ended with status -9: it said nothing"


def test_what_is_not_fixed_fails_the_run_and_is_in_every_report(store: Path) -> None:
    made = run_of(store.parent, families=("padding",))
    told: list[str] = []
    made.tell = told.append
    config: Any = SimpleNamespace(config=SimpleNamespace(option=SimpleNamespace(collectonly=False, numprocesses=2)))
    last_failed.LastFailed(made).pytest_collection(config)
    assert told[0] == f"{len(ANSWERS)} kept failures, tried before anything else"
    assert len(told) == 1 + len(ANSWERS)
    assert because(1, kept=["a"]) == "1 kept failure not fixed (a)"
    assert (ended(made).code, made.because) == (1, "5 kept failures not fixed (bbbbbb, cccccc, dddddd and 2 more)")
    assert json.loads((store.parent / "record.ndjson").read_text().splitlines()[-1])["kept"] == made.kept
    assert document.of_session(made)["kept"] == made.kept
    assert 'classname="kept" name="bbbbbb"' in junit.of_session(made)
    notes = sarif.of_session(made)["runs"][0]["invocations"][0]["toolExecutionNotifications"]
    assert sum(note["message"]["text"].startswith("kept ") for note in notes) == 5


RECORD = {
    "law": "lookup_copies_rows", "family": "lookup", "subject": "torch", "mode": "eager", "device": "cpu", "kind": "bits: value",
    "case": "LookupCase(num_embeddings=2, embedding_dim=1, shape=(1,))",
}  # fmt: skip


def test_replay_itself_is_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda command, env, **given: warm.python(*command[1:], environment=env))
    told = {"torch": version("torch"), "machine": here().to_dict()}
    for failure, more in (("aaaaaa", told), ("bbbbbb", {**told, "law": "no_such_law"})):
        (tmp_path / f"{failure}.json").write_text(json.dumps({**RECORD, "id": failure, **more}))
    answers = {answer.failure: answer for answer in last_failed.retried(tmp_path, 1)}
    assert {failure: answer.state for failure, answer in answers.items()} == {"aaaaaa": "FIXED", "bbbbbb": "ERROR"}
    assert "no 'no_such_law'" in answers["bbbbbb"].words
    assert kept_in(tmp_path) == ["bbbbbb"]


def test_the_nightly_workflow_asks_for_it_and_keeps_the_store() -> None:
    assert 'last-failed: "true"' in WORKFLOW
    assert WORKFLOW.count("path: embcheck-report/.embcheck") == 2
    assert "--embcheck-last-failed" in Settings(last_failed=True).as_arguments()


def test_violations_of_a_lookup_stand_before_those_of_what_uses_it() -> None:
    families = ["lr_scheduler", "conversion", "lookup"]
    examples = [replace(EXAMPLE, law=family, family=family, also=()) for family in families]
    assert [example.family for example in chosen(examples)[0]] == families[::-1]


def test_every_kept_failure_is_named(tmp_path: Path) -> None:
    """A law's further differences have a line each, and those beyond the second one line, which counts what it can't name."""
    for many, told in (
        (4, "in 2 more ways: c in vmap (embcheck replay id2), d in vmap (embcheck replay id3)"),
        (10, "h in vmap (embcheck replay id7) and 2 more"),
    ):
        examples = tuple(replace(EXAMPLE, kind="abcdefghij"[n], id=f"id{n}") for n in range(many))
        made = ended(run_of(tmp_path / str(many), replace(violated(), counterexamples=examples)), 1)
        text = "\n".join(printed(made, -1)).replace(f" --store {tmp_path / str(many)}", "")
        assert told in text
        assert set(re.findall(r"\bid\d", text)) == {f"id{n}" for n in range(min(many, 8))}
