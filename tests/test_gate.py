"""The gate as its users run it: a baseline, shards that are merged, the page and GitHub's summary beside the record."""

from pathlib import Path
from typing import NamedTuple

import pytest
from command import Said
from test_cli import HERE, last_line, planted
from warm import embcheck

from embcheck.record.record import Record, read

ONE = ("run", "--profile", "quick", "-k", "lookup and scope and eager")
QUICK = ("run", "--profile", "quick", "-k", "test_padding")
HOLD = "exit code 0: every law holds, is known or not applicable"


class Broken(NamedTuple):
    """A run of a torch that is wrong, among GitHub's variables."""

    folder: Path
    plant: Path
    done: Said


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Broken:
    folder = tmp_path_factory.mktemp("broken")
    plant = planted(folder / "plant", "return right(input, weight, *more, **flags) + 1")
    with pytest.MonkeyPatch.context() as set_for_it:
        set_for_it.setenv("GITHUB_ACTIONS", "true")
        set_for_it.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
        return Broken(folder, plant, embcheck(*ONE, "--report", folder / "old", *HERE, ends=1, plant=plant))


def test_a_baseline_excuses_what_is_old_and_shows_it(broken: Broken, tmp_path: Path) -> None:
    plant, old = broken.plant, broken.folder / "old"
    baseline = old / "record.ndjson"

    again = embcheck(*ONE, "--baseline", baseline, "--report", tmp_path / "new", *HERE, plant=plant)
    assert "(in the baseline too)" in again.out
    assert "against the baseline: 0 laws new or undecided" in again.out
    embcheck("diff", old, tmp_path / "new")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Record:
    """The record of a run without workers."""
    folder = tmp_path_factory.mktemp("whole")
    assert last_line(embcheck(*QUICK, "--report", folder, *HERE)) == HOLD
    return read(folder / "record.ndjson")


def test_no_verdict_hangs_on_a_filter_that_makes_errors_of_warnings() -> None:
    """torch warns of casts in some of these cases."""
    assert last_line(embcheck("run", "--profile", "quick", "-k", "conversion and random", *HERE, "-W", "error")) == HOLD


def counts_of(record: Record) -> tuple[str, int]:
    footer = record.footer or {}
    return footer["digest"], footer["cases"]


def test_workers_have_the_cases_of_the_whole(whole: Record, tmp_path: Path) -> None:
    assert last_line(embcheck(*QUICK, "--report", tmp_path, "-n", "2")) == HOLD
    assert counts_of(read(tmp_path)) == counts_of(whole)


def test_the_longest_items_come_first(whole: Record) -> None:
    """What comes last is short, so that no worker waits for another at the end."""
    engines = [verdict.engine for verdict in whole.verdicts]
    assert engines == sorted(engines, key=("product", "random", "scope").index)
    assert len(set(engines)) == 3


def test_shards_have_the_cases_of_the_whole(whole: Record, tmp_path: Path) -> None:
    """The second one has a plugin that shuffles tests."""
    parts = [tmp_path / f"{number}" for number in (1, 2)]
    plugin = "import pytest\n@pytest.hookimpl\ndef pytest_collection_modifyitems(items): items.reverse()\n"
    (tmp_path / "reversing.py").write_text(plugin, encoding="utf-8")
    for number, part in enumerate(parts, 1):
        shuffled = ("-p", "reversing") * (number == 2)
        embcheck(*QUICK, "--shard", f"{number}/2", "--report", part, *HERE, *shuffled, plant=tmp_path)
    embcheck("merge", *reversed(parts), "-o", tmp_path / "merged.ndjson")
    merged = read(tmp_path / "merged.ndjson")
    assert counts_of(merged) == counts_of(whole)
    ends = [record.footer or {} for record in (merged, whole)]
    for name in ("laws", "witnesses", "families"):
        assert ends[0][name] == ends[1][name]
    assert set(ends[0]["modes"]) == set(ends[1]["modes"])
    assert {v.key: (v.status, v.cases) for v in merged.settled()} == {
        v.key: (v.status, v.cases) for v in whole.settled()
    }

    half = embcheck("merge", parts[0], "-o", tmp_path / "half.ndjson", ends=1)
    assert "incomplete: the run did not finish (no shard 2/2)" in half.out
    kept = embcheck("merge", parts[0], "-o", tmp_path / "merged.ndjson", ends=4).err
    assert "merged.ndjson is complete, and this one is not: " in kept
    embcheck("merge", parts[0], parts[0], "-o", tmp_path / "twice.ndjson", ends=4)
    assert "no shard '3/2'" in embcheck(*QUICK, "--shard", "3/2", ends=4).err


def test_github_gets_annotations_and_a_summary(broken: Broken) -> None:
    told = [line for line in broken.done.out.splitlines() if line.startswith("::error ")]
    assert any("title=violated%3A lookup_copies_rows" in line for line in told)
    summary = (broken.folder / "summary.md").read_text(encoding="utf-8")
    assert "<code>lookup&#95;copies&#95;rows</code>" in summary
    assert "**exit code 1: 1 law violated (lookup&#95;copies&#95;rows)**" in summary
    assert "lookup_copies_rows" in (broken.folder / "old" / "report.html").read_text(encoding="utf-8")
