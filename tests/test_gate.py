"""The gate as its users run it: a baseline, shards that are merged, the page and GitHub's summary beside the record."""

from __future__ import annotations

import os
from pathlib import Path

from test_cli import HERE, planted
from warm import embcheck

from embcheck.records.record import read

ONE = ("run", "--profile", "quick", "-k", "lookup and scope and eager")


def test_a_baseline_excuses_what_is_old_and_shows_it(tmp_path: Path) -> None:
    plant = planted(tmp_path / "plant", "return right(input, weight, *more, **flags) + 1")
    first = embcheck(*ONE, "--report", tmp_path / "old", *HERE, plant=plant)
    assert first.returncode == 1, first.stdout
    baseline = tmp_path / "old" / "record.ndjson"

    again = embcheck(*ONE, "--baseline", baseline, "--report", tmp_path / "new", *HERE, plant=plant)
    assert again.returncode == 0, again.stdout
    assert "(in the baseline too)" in again.stdout
    assert "against the baseline: 0 laws new or undecided" in again.stdout
    assert embcheck("diff", tmp_path / "old", tmp_path / "new").returncode == 0

    other = planted(tmp_path / "other", "return right(input, weight, *more, **flags)[..., :1]")
    worse = embcheck(*ONE, "--baseline", baseline, "--report", tmp_path / "worse", *HERE, plant=other)
    assert worse.returncode == 1, worse.stdout
    changed = embcheck("diff", tmp_path / "old", tmp_path / "worse")
    assert changed.returncode == 1
    assert "lookup_has_shape   holds → violated" in changed.stdout


def test_a_baseline_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "record").write_text("{}")
    for path, said in (("record", "the baseline is no record"), ("missing", "can't read the baseline")):
        done = embcheck(*ONE, "--baseline", tmp_path / path)
        assert done.returncode == 4
        assert said in done.stdout + done.stderr


def test_shards_have_the_cases_of_the_whole(tmp_path: Path) -> None:
    quick = ("run", "--profile", "quick", "-k", "padding and (scope or product)")
    assert embcheck(*quick, "--report", tmp_path / "whole", *HERE).returncode == 0
    parts = [tmp_path / f"{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert embcheck(*quick, "--shard", f"{number}/2", "--report", part, *HERE).returncode == 0
    done = embcheck("merge", *reversed(parts), "-o", tmp_path / "merged.ndjson")
    assert done.returncode == 0, done.stdout + done.stderr
    whole, merged = read(tmp_path / "whole" / "record.ndjson"), read(tmp_path / "merged.ndjson")
    assert whole.footer is not None
    assert merged.footer is not None
    assert [merged.footer[name] for name in ("digest", "cases")] == [whole.footer[name] for name in ("digest", "cases")]
    assert {v.key: (v.status, v.cases) for v in merged.settled()} == {
        v.key: (v.status, v.cases) for v in whole.settled()
    }

    half = embcheck("merge", parts[0], "-o", tmp_path / "half.ndjson")
    assert half.returncode == 1
    assert "incomplete: the run did not finish (no shard 2/2)" in half.stdout
    assert embcheck("merge", parts[0], parts[0], "-o", tmp_path / "twice.ndjson").returncode == 4
    assert "no shard '3/2'" in embcheck(*quick, "--shard", "3/2").stderr


def test_github_gets_annotations_and_a_summary(tmp_path: Path) -> None:
    plant = planted(tmp_path / "plant", "return right(input, weight, *more, **flags) + 1")
    summary = tmp_path / "summary.md"
    os.environ.update(GITHUB_ACTIONS="true", GITHUB_STEP_SUMMARY=str(summary))
    try:
        done = embcheck(*ONE, "--report", tmp_path / "out", *HERE, plant=plant)
    finally:
        del os.environ["GITHUB_ACTIONS"], os.environ["GITHUB_STEP_SUMMARY"]
    assert done.returncode == 1
    told = [line for line in done.stdout.splitlines() if line.startswith("::error ")]
    assert any("title=violated%3A lookup_copies_rows" in line for line in told)
    assert "<code>lookup&#95;copies&#95;rows</code>" in summary.read_text(encoding="utf-8")
    assert "**exit code 1: 1 law violated (lookup&#95;copies&#95;rows)**" in summary.read_text(encoding="utf-8")
    assert "lookup_copies_rows" in (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
