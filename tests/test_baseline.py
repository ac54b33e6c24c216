"""A baseline excuses the very cases that failed in it: faults that are wider, narrower or elsewhere, one by one."""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

import pytest
import torch

from embcheck.core.item import PROFILES, Item
from embcheck.core.ledger import Ledger
from embcheck.core.verdict import Counterexample, Status, Verdict
from embcheck.engine.run_item import run_item
from embcheck.record.compare import Baseline, Move, compare
from embcheck.record.record import Record
from embcheck.runner.run import settle
from embcheck.subject.collect import load_families
from selfcheck.fault import patched

FAMILY = load_families()["lookup"]
ITEM = Item("lookup", "torch", "eager", "product", 0, 12)
LAW = "lookup_copies_rows"

#: Which lookups are wrong, by whether they are sparse and of which dtype their weight is.
WRONG: dict[str, Callable[[bool, torch.dtype], bool]] = {
    "none": lambda sparse, dtype: False,
    "sparse": lambda sparse, dtype: sparse,
    "sparse in single": lambda sparse, dtype: sparse and dtype == torch.float32,
    "all": lambda sparse, dtype: True,
}
right = torch.nn.functional.embedding
#: Cases that each seed takes others of.
SAMPLED = replace(PROFILES["gate"], deck="")


def run(wrong: str, baseline: Baseline | None = None, seed: int = 0) -> list[Verdict]:
    """The verdicts of an item, as a run hands them over; the functional lookup is off by one where it is wrong."""

    def embedding(input: Any, weight: Any, *more: Any, **flags: Any) -> Any:
        value = right(input, weight, *more, **flags)
        off = WRONG[wrong](flags.get("sparse", False), weight.dtype)
        return value + 1 if off else value  # not + 0, which changes the sign of −0.0

    former = baseline.former(ITEM.label, "cpu") if baseline is not None else None
    with patched(torch.nn.functional, embedding=embedding):
        found = run_item(FAMILY, ITEM, SAMPLED, seed, Ledger(), former=former)
    chosen = [verdict for verdict in found if verdict.law == LAW]
    return [baseline.marked(verdict) for verdict in chosen] if baseline is not None else chosen


@lru_cache
def first(wrong: str) -> Record:
    """The record of a run without a baseline."""
    return Record({}, run(wrong))


def against(before: str, after: str, seed: int = 0) -> tuple[bool, Verdict, list[Move]]:
    """Whether a baseline excuses a law that is wrong now, the law's verdict, and what ``diff`` calls it."""
    baseline = Baseline(first(before))
    verdicts = run(after, baseline, seed)
    settled = settle(verdicts, ())
    moves: list[Move] = [
        change.move for change in compare(baseline.record, Record({}, verdicts)) if change.move is not Move.RATIO
    ]
    return settled[0].key in baseline.excused(verdicts, settled), settled[0], moves


def of_kind(verdict: Verdict, kind: str) -> list[Counterexample]:
    """What is shown of a kind: the case of the baseline, then the one that is not of it."""
    found = [example for example in verdict.counterexamples if example.kind == kind]
    assert sorted(example.in_baseline for example in found) == [False, True]
    return sorted(found, key=lambda example: not example.in_baseline)


@pytest.mark.parametrize(
    ("before", "after", "seed", "excused"),
    [
        ("sparse", "sparse", 0, True),
        ("sparse", "sparse in single", 0, True),
        ("sparse", "sparse", 1, False),  # other cases than the baseline's
        ("none", "sparse", 0, False),
    ],
)
def test_what_fails_as_it_did_is_excused(before: str, after: str, seed: int, excused: bool) -> None:
    found, verdict, moves = against(before, after, seed)
    assert (found, verdict.status) == (excused, Status.VIOLATED)
    if excused:
        assert all(example.in_baseline for example in verdict.counterexamples)
        assert Move.BROKEN not in moves
    if before == after and excused:
        assert moves == []


def test_newly_wrong_dense_lookups_are_not_excused_by_wrong_sparse_ones() -> None:
    excused, verdict, moves = against("sparse", "all")
    assert not excused
    for kind in ("bits: value", "bits: zero"):
        old, new = of_kind(verdict, kind)
        assert "sparse=True" in old.case
        assert "sparse=True" not in new.case
    assert moves == [Move.BROKEN]


def test_a_wider_fault_with_the_same_smallest_case_is_not_excused() -> None:
    """Its new cases shrink to the old one, so what is shown is a new case as it was met."""
    excused, verdict, moves = against("sparse in single", "sparse")
    assert not excused
    old, new = of_kind(verdict, "bits: value")
    assert old.case == "LookupCase(num_embeddings=1, embedding_dim=1, shape=(), sparse=True)"
    assert "sparse=True" in new.case
    assert "dtype=" in new.case
    assert moves == [Move.BROKEN]


def test_what_was_not_decided_or_does_not_say_which_cases_failed_excuses_nothing() -> None:
    (failed,) = first("sparse").verdicts
    unsaid = [replace(failed, failing=dict.fromkeys(failed.failing, text)) for text in ("nonsense", "0")]
    unsaid += [replace(failed, failing={}), replace(failed, part=""), replace(failed, status=Status.UNKNOWN)]
    assert [before for before in unsaid if Baseline(Record({}, [before])).excused([failed], [failed])] == []
    undecided = replace(failed, reasons=("the oracle failed: ValueError on LookupCase()",))
    assert not Baseline(Record({}, [failed])).excused([undecided], [undecided])


def test_one_failing_item_is_not_excused_by_another() -> None:
    (failed,) = first("sparse").verdicts
    other = replace(failed, part="1/12")
    assert not Baseline(Record({}, [failed])).excused([failed, other], [failed])
    assert Baseline(Record({}, [failed, other])).excused([failed, other], [failed])
