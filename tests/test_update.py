"""--update-ledger: what a run found violated is known to the next run, and nothing else is."""

from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from records import ended
from test_screen import run_of, violated

from embcheck.core.case import LookupCase
from embcheck.core.item import PROFILES, items_of
from embcheck.core.ledger import Ledger, LedgerError, load, read
from embcheck.core.result import Difference, Elements
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.engine.common_facts import both, in_words, seen
from embcheck.engine.run_item import run_item
from embcheck.runner.run import Results, Settings, examples_of
from embcheck.runner.update_ledger import entries, update
from embcheck.subject.collect import load_families
from selfcheck.fault import patched

MEASURED = {torch.__version__.partition("+")[0]: ["AVX2"]}
#: Cases that no deck has chosen.
SAMPLED = replace(PROFILES["gate"], deck="")
original = torch.nn.functional.embedding


def forgets_padding(input: Any, weight: Any, padding_idx: Any = None, *more: Any, **flags: Any) -> Any:
    return original(input, weight, None, *more, **flags)


def is_off(input: Any, weight: Any, *more: Any, **flags: Any) -> Any:
    return original(input, weight, *more, **flags) * 3


def verdicts_with(wrong: Any, ledger: Ledger) -> list[Verdict]:
    """The verdicts of an item of padding while a fault is planted."""
    family = load_families()["padding"]
    item = items_of(family, "scope", SAMPLED, family.modes[:1])[0]
    with patched(torch.nn.functional, embedding=wrong):
        return run_item(family, item, SAMPLED, 0, ledger, learns=True)


def test_the_next_run_knows_what_was_written_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    found = verdicts_with(forgets_padding, Ledger())
    violated = {verdict.law for verdict in found if verdict.status == Status.VIOLATED}
    examples = examples_of(Results(Settings(), found).settle())
    assert "padding_row_gets_no_gradient" in violated
    assert update(path, found, examples, MEASURED) == len(examples)
    known = load(path, torch.__version__, date.today())
    again = verdicts_with(forgets_padding, known)
    assert {verdict.law for verdict in again if verdict.status == Status.KNOWN} == violated
    assert max(verdict.status for verdict in again) == Status.KNOWN
    for entry in read(path):
        assert entry.where["padding_hit"] is True
        assert entry.covers(entry.case.facts())
        assert entry.reason.startswith(f"Written by embcheck run --update-ledger on {date.today()}: ")
        assert entry.measured == MEASURED
    assert max(verdict.status for verdict in verdicts_with(is_off, known)) == Status.VIOLATED
    assert max(verdict.status for verdict in verdicts_with(original, known)) == Status.HOLDS


def difference(got: Any, kind: str = "value") -> Difference:
    return Difference(kind, 'seen["count"]', got, 0, f"{got}, expected 0")


def test_a_region_has_what_all_cases_have_in_common() -> None:
    one = seen(LookupCase(2, 1, (3,), padding_idx=0, sparse=True), difference(2))
    other = seen(LookupCase(2, 1, (2,), padding_idx=1, sparse=True), difference(3))
    held = both(one, other)
    assert held["where"]["sparse"] is True
    assert held["where"]["padded"] is True
    assert "padding_idx" not in held["where"]
    assert in_words(one["instead"]) == {"count": "= 2"}
    assert in_words(held["instead"]) == {"count": "in [2, 3]"}
    many = held
    for got in range(20):
        many = both(many, seen(LookupCase(2, 1), difference(got)))
    assert "sparse" not in many["where"]
    assert in_words(many["instead"]) == {"count": "anything"}
    raised = seen(LookupCase(2, 1), difference("x", kind="raised IndexError"))
    assert raised["instead"] == {}


def test_tensors_are_told_by_a_judgement_that_held_each_time() -> None:
    expected = np.array([1.0, 2.0])
    zeros = Elements(np.zeros(2), expected, np.array([True, True]), 'seen["weight_grad"]')
    found = Difference("value", 'seen["weight_grad"][0]', 0.0, 1.0, "0, expected 1", elements=zeros)
    told = seen(LookupCase(2, 1), found)["instead"]
    assert list(told) == ["weight_grad"]
    assert "zero" in told["weight_grad"]["words"]
    assert told["weight_grad"]["values"] == []


EXAMPLE = Counterexample(
    "lookup_is_accepted", "lookup", "torch", "eager", "cpu", "LookupCase(num_embeddings=1, embedding_dim=1)", "crash SIGSEGV",
    'the process died: "crash"\x1b', id="0a0b0c", other_modes=("vmap",),
)  # fmt: skip


def test_what_takes_the_process_down_is_excluded_and_every_text_is_toml(tmp_path: Path) -> None:
    path = tmp_path / "known.toml"
    assert path not in Settings(update_ledger=path).ledgers
    (made,) = entries([], [EXAMPLE], MEASURED)
    assert made["excluded"] is True
    assert (made["mode"], made["kind"]) == ("eager, vmap", "crash SIGSEGV")
    assert update(path, [], [EXAMPLE], MEASURED) == 1
    assert Settings(update_ledger=path).ledgers[-1] == path, "a file that is there adds to the run's ledger"
    (entry,) = read(path)
    assert entry.excluded
    assert r"\x1b" in entry.reason
    assert update(path, [], [], MEASURED) == 0
    with pytest.raises(LedgerError, match="two entries are called"):
        update(path, [], [EXAMPLE], MEASURED)


@pytest.mark.parametrize("folder", ["", "no/such/file/"])
def test_a_session_says_what_it_wrote(tmp_path: Path, folder: str) -> None:
    (tmp_path / "no").write_text("")
    made = run_of(tmp_path, replace(violated(), counterexamples=(EXAMPLE,)), families=("padding",))
    path = tmp_path / folder / "known.toml"
    made.settings = Settings(report=tmp_path, update_ledger=path)
    ended(made, 1)
    told = (
        f"the ledger {path} can't be updated: " if folder else f"1 entry written to {path}; the next run knows it with "
    )
    assert sum(note.startswith(told) for note in made.results.notes) == 1
