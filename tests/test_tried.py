"""In which releases the causes' scripts fail: what is kept of it, and the command that tries them."""

import sys
from pathlib import Path

import pytest
from command import Command, Patch
from warm import statuses

from embcheck.known import tried
from embcheck.known.recorded import scripts
from embcheck.releases.environment import Cache, Environment, Release, ReleaseError


@pytest.mark.parametrize(
    ("ends", "since", "fixed"),
    [
        ({"2.9.1": 1, "2.13.0": 1}, "2.9.1 or before", ""),
        ({"2.9.1": 0, "2.13.0": 1}, "2.13.0 (right with 2.9.1)", ""),
        ({"2.9.1": 1, "2.13.0": 0}, "2.9.1 or before", "2.13.0 (wrong with 2.9.1)"),
        ({"2.4.1": 0, "2.9.1": 1, "2.13.0": 0, "2.15.0": 0}, "2.9.1 (right with 2.4.1)", "2.13.0 (wrong with 2.9.1)"),
        ({"2.4.1": 1, "2.9.1": 0, "2.13.0": 1}, "2.4.1 or before", ""),
        ({"2.4.1": 2, "2.9.1": None, "2.13.0": 1, "2.15.0": 2}, "2.13.0 or before", ""),
        ({"2.13.0": 0}, "", ""),
        ({}, "", ""),
    ],
)
def test_where_it_began_and_ended(ends: dict[str, int | None], since: str, fixed: str) -> None:
    found = tried.Tried("", dict(reversed(ends.items())))
    assert (found.since, found.fixed) == (since, fixed)


def test_a_changed_script_starts_anew() -> None:
    before = {
        "a": tried.Tried(tried.digest("a"), {"2.9.1": 1}),
        "b": tried.Tried(tried.digest("old"), {"2.9.1": 1}),
        "gone": tried.Tried(""),
    }
    found = tried.updated(before, {"a": "a", "b": "b", "c": "c"}, "2.13.0", {"a": 0, "b": 2})
    assert found == {
        "a": tried.Tried(tried.digest("a"), {"2.9.1": 1, "2.13.0": 0}),
        "b": tried.Tried(tried.digest("b"), {"2.13.0": 2}),
        "c": tried.Tried(tried.digest("c")),
    }


def test_every_script_was_tried_as_it_stands() -> None:
    texts, known = scripts(), tried.kept()
    again = "run: embcheck since --known"
    assert {name: each.script for name, each in known.items()} == {n: tried.digest(t) for n, t in texts.items()}, again
    assert [name for name in texts if "2.13.0" not in known[name].releases] == []


def test_the_command_tries_each_script_in_each_release(monkeypatch: Patch, tmp_path: Path, command: Command) -> None:
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
    monkeypatch.setattr("embcheck.cli.releases.uv_program", lambda: "uv")
    done = command("since", "--known", "2.9.1", "2.13.0", "--cache", tmp_path / "cache")
    assert tried.kept(tmp_path / "tried.json") == {
        "a": tried.Tried(tried.digest(texts["a"]), {"2.13.0": 1}),
        "b": tried.Tried(tried.digest(texts["b"]), {"2.13.0": 0}),
    }
    for words in ("2.9.1: no such wheel", "2.13.0: 1 fail, 1 are right of 2"):
        assert words in done.told
    command("since", "--known", "2.9.1", "--cache", tmp_path / "cache", ends=3)
    assert "--known tries every known bug" in command("since", ends=4).err, "there is nothing to try"
