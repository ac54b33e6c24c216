"""The scripts of the known bugs, each run alone on the installed torch: they end as the ledger says of their cause."""

from __future__ import annotations

import ast
import functools
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from statistics import median

import pytest
import torch
from test_model_scripts import imported
from warm import scripts_alone

from embcheck.core.ledger import SHIPPED, load
from embcheck.core.machine import here
from embcheck.core.shipped_ledger import shipped
from embcheck.known.recorded import SCRIPTS, kept, public, scripts

#: Lines of code in the median, and of the longest, which needs several processes.
MEDIAN, MOST = 15, 60
#: The releases on which the scripts were written: another one may tell the same in other words.
RELEASES = ("2.13.0", "2.15.0")
#: Written where there is no such machine: whoever sees it end with 1 on one takes it out.
UNSEEN = {
    "onednn-amx-reads-on",
    *("embedding_renorm-cuda-repeated-rows", "index_select-cuda-half", "sparse-to_dense-cuda-subnormal"),
    "tensor-add-sparse-cuda-strides",
}
#: What a script may import beside torch.
STANDARD = {"copy", "importlib", "io", "multiprocessing", "os", "pickle", "sys", "tempfile"}
NAMES = sorted(shipped()[1])
TEXTS, RECORDED = scripts(), kept()


def lines_of(name: str) -> list[str]:
    """The lines of code of a script."""
    stripped = (line.strip() for line in TEXTS[name].splitlines())
    return [line for line in stripped if line and not line.startswith("#")]


@functools.cache
def in_force() -> set[str]:
    """The entries that speak of the installed torch and of this machine."""
    return {entry.name for entry in load(SHIPPED, torch.__version__, date.today()).on(here()).entries}


def due(cause: str) -> set[int]:
    """How the script of a cause may end here: as its entries say, where they say the same."""
    release = public(torch.__version__)
    entries = [e.name for e in shipped()[0] if e.cause == cause and e.runs_on("cpu")]
    if not entries:  # it speaks of another device, which alone can tell
        return {0, 1} if torch.cuda.is_available() else {2}
    measured = {RECORDED[name].releases.get(release, "") for name in entries}
    if "" in measured:
        return {0, 1, 2}
    if cause in UNSEEN and in_force() >= set(entries):
        return {0, 1}
    said = {int(name in in_force() and RECORDED[name].releases[release] == "wrong") for name in entries}
    return said if release in RELEASES else {*said, 2}


@pytest.fixture(scope="module")
def run_alone() -> Iterator[Callable[[Path], int | None]]:
    """Runs a script in a fork of a process that has imported torch."""
    with scripts_alone() as status:
        yield status


@pytest.mark.parametrize("name", NAMES)
def test_a_stored_script_ends_as_the_ledger_says(name: str, run_alone: Callable[[Path], int | None]) -> None:
    assert run_alone(SCRIPTS / f"{name}.py") in due(name)


def test_each_cause_has_a_script_and_no_other_is_there() -> None:
    assert sorted(TEXTS) == NAMES


def test_scripts_are_short() -> None:
    lengths = {name: len(lines_of(name)) for name in TEXTS}
    assert median(lengths.values()) <= MEDIAN
    assert {name: length for name, length in lengths.items() if length > MOST} == {}


@pytest.mark.parametrize("name", NAMES)
def test_a_script_needs_torch_alone_and_tells_its_difference_from_any_other(name: str) -> None:
    text = TEXTS[name]
    found = ast.parse(text)
    assert text.startswith("# "), "what is wrong stands first"
    assert "torch" in imported(found)
    assert imported(found) - {"torch"} <= STANDARD
    assert "sys.excepthook = " in text, "what nobody expects ends it with 2"
    assert "sys.exit(0 if" in lines_of(name)[-1]
