"""Nothing gets lost: what was selected and gave no verdict is named, and decides every exit code."""

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from command import Command
from records import verdict, written
from warm import embcheck

from embcheck.core.accounting import Account, Selection, told_by_reason
from embcheck.core.item import PROFILES
from embcheck.core.machine import Machine
from embcheck.core.plot_data import Figure
from embcheck.core.shipped_ledger import shipped
from embcheck.core.verdict import Statement, Status
from embcheck.record.record import Record, read
from embcheck.runner.merge import ShardError, merged
from embcheck.runner.plugin import pytest_itemcollected, starts_processes
from embcheck.subject.collect import load_families

HELD = verdict(cases=3)
LABELS = {"test_a.py::test_scope[eager-0]": "a/torch/eager/scope/0", "test_a.py::test_random[eager-0]": "a/random"}

#: Planted into every process of a run: ends items in every way in which they can end without a verdict.
PLANT = """
import os, sys
import _pytest.python
import embcheck.runner.plugin

right = _pytest.python.import_path

def import_path(path, **more):
    if os.environ.get("PYTEST_XDIST_WORKER") and path.name == "test_gradient_routes.py":
        raise ModuleNotFoundError("No module named 'lost'")  # a file of laws that needs it can't be imported
    return right(path, **more)

def leave(*given, **more):
    sys.exit(9)

def pytest_runtest_call(item):
    if "test_lookup.py::test_scope[no_grad" in item.nodeid:
        import torch
        torch.embedding = torch.nn.functional.embedding = leave
        return
    if "test_lookup.py::test_scope" in item.nodeid:
        raise RuntimeError("the lost scope")
    if "test_lookup.py::test_product" in item.nodeid:
        sys.exit(7)
    if "test_lookup.py::test_random" in item.nodeid:
        os._exit(1)

_pytest.python.import_path, embcheck.runner.plugin.pytest_runtest_call = import_path, pytest_runtest_call
"""


def test_an_item_without_a_verdict_is_named_with_its_reason() -> None:
    account = Account(Selection.of(LABELS), {"test_a.py::test_scope[eager-0]"})
    assert account.unaccounted() == {"a/random": "it did not run"}
    account.failed("test_a.py::test_random[eager-0]", "E  ValueError: no\nworker 'gw0' crashed while running 'x'")
    account.failed("laws/test_b.py", "trace\nE   ModuleNotFoundError: no b")
    account.failed("test_mine.py::test_of_somebody_else", "AssertionError")
    account.failed("", "E   ModuleNotFoundError: no c")
    died = "its worker died before its first case"
    outside = {"a file outside of the root directory": "ModuleNotFoundError: no c"}
    assert account.unaccounted() == {"a/random": died, "test_b.py": "ModuleNotFoundError: no b"} | outside
    account.done |= set(LABELS)
    account.failed("test_a.py::test_scope[eager-0]", ("test_a.py", 1, "Skipped: no"))
    assert account.unaccounted()["a/torch/eager/scope/0"] == "Skipped: no", "a failed end spoils what came before it"


def test_of_tests_beside_the_laws_those_that_fail_count() -> None:
    account = Account(Selection.of({"a.py::test_scope[eager-0]": "a/torch/eager/scope/0"}))
    for nodeid in ("a.py::test_scope[eager-0]", "b.py::test_fails", "b.py::test_skipped", "c.py"):
        account.failed(nodeid, "why")
    account.skipped |= {"b.py::test_skipped"}
    assert account.others() == 1
    assert account.unaccounted() == {"a/torch/eager/scope/0": "why", "c.py": "why"}


def test_items_of_one_reason_are_told_in_one_line() -> None:
    lines = told_by_reason({**{f"item {n}": "it did not run" for n in range(7)}, "other": "ValueError"}, shown=2)
    assert lines == ["item 0, item 1 and 5 more: it did not run", "other: ValueError"]


def test_quick_leaves_out_what_starts_processes() -> None:
    entries = {entry.name: entry for entry in shipped()[0]}
    for name, starts in (("dtensor", True), ("lookup", False)):
        item: Any = SimpleNamespace(function=SimpleNamespace(family=load_families()[name]))
        assert starts_processes(item) is starts
    for name, starts in (("ranks-without-rows", True), ("sparse-scalar-padding", False)):
        item = SimpleNamespace(callspec=SimpleNamespace(params={"embcheck_entry": entries[name]}))
        assert starts_processes(item) is starts
    assert not PROFILES["quick"].processes
    assert all(PROFILES[name].processes for name in ("gate", "full", "deep"))


def selected_by(words: str, **test: Any) -> set[str]:
    """What a test is called besides, in a run with this expression after -k."""
    config = SimpleNamespace(getoption={"keyword": words}.get)
    item: Any = SimpleNamespace(config=config, extra_keyword_matches=set(), **test)
    pytest_itemcollected(item)
    found: set[str] = item.extra_keyword_matches
    return found


@pytest.mark.parametrize(("words", "found"), [("one_hot and scope", {"one_hot"}), ("hot or padding or lookup", set())])
def test_an_expression_that_names_a_family_selects_what_the_ledger_knows_of_it(words: str, found: set[str]) -> None:
    """Else a run whose ledger has entries of the family would not see that they are stale."""
    (entry,) = (entry for entry in shipped()[0] if entry.name == "one-hot-recorded-unchecked")
    assert selected_by(words, function=SimpleNamespace(family=load_families()["one_hot"])) == found
    assert selected_by(words, callspec=SimpleNamespace(params={"embcheck_entry": entry})) == found


def test_a_shard_has_its_items_and_the_whole_selections_fingerprint(tmp_path: Path) -> None:
    whole = Selection.of(LABELS)
    part = whole.only(["test_a.py::test_scope[eager-0]", "test_mine.py::test_other"])
    part.write(tmp_path)
    assert Selection.read(tmp_path) == part
    assert list(part.items.values()) == ["a/torch/eager/scope/0"]
    assert part.digest == whole.digest != Selection.of({"x": "y"}).digest
    assert Selection.read(tmp_path / "elsewhere") == Selection()


LACKING = [
    ({"stopped": "finished", "unaccounted": {"a/random": "SystemExit: 7"}}, "no verdict from a/random: SystemExit: 7"),
    ({"stopped": "finished", "lost": ["a/random"]}, "no verdict from a/random: given up after repeated crashes"),
    ({"stopped": "interrupted"}, "the run did not finish (interrupted)"),
    ({"stopped": ""}, "the run was cut off"),
]


@pytest.mark.parametrize(("footer", "said"), LACKING)
def test_merge_and_diff_fail_with_a_record_that_lacks_something(
    tmp_path: Path, footer: dict[str, Any], said: str, command: Command
) -> None:
    whole = written(tmp_path / "whole", HELD, header={"settings": {"shard": "1/2"}}, cases=3)
    lacking = written(tmp_path / "lacking", HELD, header={"settings": {"shard": "2/2"}}, **footer)
    assert (read(whole).complete, read(lacking).complete) == (True, False)
    assert (read(lacking).footer is None) == (not footer["stopped"])
    merging = ("merge", whole, lacking, "-o", tmp_path / "merged.ndjson")
    for words in (merging, ("diff", whole, lacking), ("diff", lacking, whole)):
        assert said in " ".join(command(*words, ends=1).out.split())
    found = read(tmp_path / "merged.ndjson")
    assert not found.complete
    assert said in found.shortfall
    assert (found.footer or {})["exit_code"] == 1
    command("diff", whole, whole)


def shard(number: int, header: Any = (), footer: Any = (), **settings: str) -> Record:
    """The record of one of two shards."""
    ended = {"stopped": "finished", "exit_code": 0, **dict(footer)}
    return Record({"settings": {"shard": f"{number}/2", **settings}, **dict(header)}, [HELD], ended)


def test_what_makes_a_shard_fail_makes_the_whole_fail() -> None:
    """A kept failure that is not fixed, or a failed test that is no law, stands in no verdict."""
    for footer, kept in (({"kept": {"c7f3a1": "FAILED"}}, {"c7f3a1": "FAILED"}), ({}, None)):
        found = merged([shard(1), shard(2, footer={"exit_code": 1, **footer})]).footer or {}
        assert (found["exit_code"], found.get("kept")) == (1, kept)
    for code in (0, 5):
        assert (merged([shard(1), shard(2, footer={"exit_code": code})]).footer or {})["exit_code"] == 0


def test_figures_and_the_first_missing_shards_are_in_the_whole() -> None:
    drawn = {"law": [Figure("title", "x", "y")]}
    shards = [replace(shard(number), laws={"law": Statement("law", "family", "")}, figures=drawn) for number in (1, 2)]
    assert merged(shards).figures == {"law": drawn["law"] * 2}
    assert merged([shard(1, shard="1/999999999")]).cut.endswith(
        f"(no shard {', '.join(f'{number}/999999999' for number in range(2, 10))} and 999,999,990 more)"
    )
    with pytest.raises(ShardError, match="a record has format 1"):
        merged([shard(1, header={"format": 1}), shard(2)])


def test_of_what_is_in_two_shards_no_whole_is_made() -> None:
    judged = [Record({"settings": {"shard": f"{n}/2"}}, [replace(HELD, part="1/2")], {"exit_code": 0}) for n in (1, 2)]
    with pytest.raises(ShardError, match="was judged in two of them"):
        merged(judged)


def test_shards_of_two_machines_name_both() -> None:
    machines = [
        {"cpu": "A", "isa": ["avx2", "amx_bf16"], "cores": 4, "gpu": ""},
        {"cpu": "B", "isa": ["avx2"], "cores": 2, "gpu": ""},
    ]
    shards = [shard(number, header={"machine": machine}) for number, machine in enumerate(machines, 1)]
    assert merged(shards).header["machine"] == {"cpu": "A or B", "isa": ["avx2"], "cores": 2, "gpu": ""}
    assert str(Machine.of(merged(shards).header["machine"])) == "A or B (avx2)"


def test_what_the_baseline_excuses_in_each_shard_is_excused_in_the_whole() -> None:
    broken = replace(HELD, status=Status.VIOLATED)
    told = {"stopped": "finished", "exit_code": 0, "settled": [broken.to_dict()]}
    old = told | {"excused": [list(broken.key)]}
    for second, code in ((old, 0), (told, 1)):
        shards = [Record({"settings": {"shard": f"{n}/2"}}, [broken], end) for n, end in ((1, old), (2, second))]
        end = merged(shards).footer or {}
        assert (end["exit_code"], end.get("excused", [])) == (code, [list(broken.key)] * (not code))


@pytest.mark.parametrize("name", ["seed", "profile", "device", "modes", "subject", "ledger", "only_ledger"])
def test_shards_of_other_settings_or_selections_are_no_shards_of_one_run(name: str) -> None:
    with pytest.raises(ShardError, match="other selections"):
        merged([shard(number, footer={"selection": f"{number}"}) for number in (1, 2)])
    with pytest.raises(ShardError, match=f"shards of different runs: {name} – and another"):
        merged([shard(1), shard(2, **{name: "another"})])


def test_every_end_without_a_verdict_fails_run_merge_and_diff(tmp_path: Path, command: Command) -> None:
    """An exception, SystemExit, a worker that dies between cases, a file of laws that can't be imported."""
    (tmp_path / "sitecustomize.py").write_text(PLANT)
    words = ("run", "--profile", "quick", "-n", "1", "--report", tmp_path, "-k", "test_lookup and (eager or scope)")
    done = embcheck(*words, ends=1, plant=tmp_path)
    unaccounted = read(tmp_path / "record.ndjson").unaccounted
    assert unaccounted["lookup/torch/eager/scope/0"] == "RuntimeError: the lost scope"
    assert unaccounted["lookup/torch/eager/product/0"] == "SystemExit: 7"
    assert unaccounted["lookup/torch/eager/random/0"] == "its worker died before its first case"
    missing = [item for item in unaccounted if item.endswith(".py")]
    assert missing, json.dumps(unaccounted)
    assert "No module named 'lost'" in unaccounted[missing[0]]
    for item in unaccounted:
        assert item in done.out
    unknown = [verdict for verdict in read(tmp_path / "record.ndjson").settled() if verdict.status == Status.UNKNOWN]
    assert any("it ended in SystemExit: 9" in reason for verdict in unknown for reason in verdict.reasons)
    command("merge", tmp_path, "-o", tmp_path / "merged.ndjson", ends=1)
    command("diff", tmp_path, tmp_path, ends=1)
