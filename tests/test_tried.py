"""In which releases the known bugs' scripts fail: what is kept, what the pages say of it, and the command."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from command import Command
from warm import statuses

from embcheck.cli.known import shipped_known
from embcheck.known import tried
from embcheck.known.issue import text
from embcheck.known.page import RIGHT, UNKNOWN, WRONG, Column, one
from embcheck.known.recorded import scripts
from embcheck.known.tried import Tried, digest, keep, kept, updated
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError


@pytest.mark.parametrize(
    ("ends", "since", "fixed"),
    [
        ({"2.9.1": 1, "2.13.0": 1}, "2.9.1 or before", ""),
        ({"2.9.1": 0, "2.13.0": 1}, "2.13.0 (2.9.1 is right)", ""),
        ({"2.9.1": 1, "2.13.0": 0}, "2.9.1 or before", "2.13.0 (2.9.1 fails)"),
        ({"2.4.1": 0, "2.9.1": 1, "2.13.0": 0, "2.15.0": 0}, "2.9.1 (2.4.1 is right)", "2.13.0 (2.9.1 fails)"),
        ({"2.4.1": 1, "2.9.1": 0, "2.13.0": 1}, "2.4.1 or before", ""),
        ({"2.4.1": 2, "2.9.1": None, "2.13.0": 1, "2.15.0": 2}, "2.13.0 or before", ""),
        ({"2.13.0": 0}, "", ""),
        ({}, "", ""),
    ],
)
def test_where_it_began_and_ended(ends: dict[str, int | None], since: str, fixed: str) -> None:
    found = Tried("", dict(reversed(ends.items())))
    assert (found.since, found.fixed) == (since, fixed)


def test_a_changed_script_starts_anew() -> None:
    before = {"a": Tried(digest("a"), {"2.9.1": 1}), "b": Tried(digest("old"), {"2.9.1": 1}), "gone": Tried("")}
    found = updated(before, {"a": "a", "b": "b", "c": "c"}, "2.13.0", {"a": 0, "b": 2})
    assert found == {
        "a": Tried(digest("a"), {"2.9.1": 1, "2.13.0": 0}),
        "b": Tried(digest("b"), {"2.13.0": 2}),
        "c": Tried(digest("c")),
    }


def test_it_is_read_as_it_was_written(tmp_path: Path) -> None:
    found = {"a": Tried("0", {"2.13.0": 1, "2.9.1": None})}
    keep(found, tmp_path / "tried.json")
    assert kept(tmp_path / "tried.json") == found
    assert list(kept(tmp_path / "tried.json")["a"].releases) == ["2.9.1", "2.13.0"]
    assert kept(tmp_path / "none.json") == {}


def test_every_script_was_tried_as_it_stands() -> None:
    texts, known = scripts(), kept()
    assert sorted(known) == sorted(texts), "run: embcheck since --known"
    assert [name for name in texts if known[name].script != digest(texts[name])] == [], "run: embcheck since --known"
    assert [name for name in texts if "2.13.0" not in known[name].releases] == []


def test_pages_and_issues_say_it() -> None:
    known = shipped_known()
    cause = known.causes[0]
    told = replace(known, tried={cause.name: Tried("", {"2.9.1": 0, "2.13.0": 1, "2.15.0": 0})})
    assert "- **since** 2.13.0 (2.9.1 is right)\n- **fixed** 2.15.0 (2.13.0 fails)" in one(told, cause)
    assert told.row(cause, [Column("2.14.0"), Column("2.15.0")])[0] == UNKNOWN
    told = replace(told, recorded={})
    assert told.row(cause, [Column("2.9.1"), Column("2.13.0"), Column("2.14.0")]) == [RIGHT, WRONG, UNKNOWN]
    assert "Since: 2.13.0 (2.9.1 is right); Fixed: 2.15.0 (2.13.0 fails)" in text(told, cause, "")


def test_the_command_tries_each_script_in_each_release(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: Command
) -> None:
    texts = {"a": "import sys\nsys.exit(1)\n", "b": "import sys\nsys.exit(0)\n"}

    def environment(self: Cache, release: Release) -> Environment:
        if release.asked == "2.9.1":
            raise ReleaseError("no such wheel")
        return Environment(Path(sys.executable), "2.13.0+cpu", "")

    monkeypatch.setattr(Cache, "environment", environment)
    monkeypatch.setattr("embcheck.cli.since.scripts", lambda: texts)
    monkeypatch.setattr("embcheck.cli.since.exit_statuses", statuses)
    monkeypatch.setattr(tried, "KEPT", tmp_path / "tried.json")
    monkeypatch.setattr(tried.kept, "__defaults__", (tmp_path / "tried.json",))
    monkeypatch.setattr(tried.keep, "__defaults__", (tmp_path / "tried.json",))
    done = command("since", "--known", "2.9.1", "2.13.0", "--cache", tmp_path / "cache")
    assert done.code == 0, done.err
    assert kept(tmp_path / "tried.json") == {
        "a": Tried(digest(texts["a"]), {"2.13.0": 1}),
        "b": Tried(digest(texts["b"]), {"2.13.0": 0}),
    }
    for words in ("2.9.1: no such wheel", "2.13.0: 1 fail, 1 are right of 2"):
        assert words in done.out + done.err
    assert command("since", "--known", "2.9.1", "--cache", tmp_path / "cache").code == 3
    done = command("since")
    assert (done.code, "--known tries every known bug" in done.err) == (4, True), "there is nothing to try"
