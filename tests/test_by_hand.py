"""Faults by hand are seen first where a run saw them, and that is looked at again each time."""

import contextlib
import importlib
from dataclasses import replace
from typing import Any

import pytest
from records import printed_by

from embcheck.cli.selfcheck import table_of
from embcheck.core.axes import parse
from embcheck.core.case import LookupCase
from embcheck.core.comparison import same
from embcheck.core.item import PROFILES
from embcheck.subject.collect import load_families
from selfcheck.candidates import Candidates, shipped
from selfcheck.fault import Fault, load_faults, patched
from selfcheck.fault_runner import FaultResult, FaultRunner, Hit, Planted, load_hits

FAULTS, KEPT, MADE = load_faults(), load_hits(), Candidates(shipped())
#: A fault that spoils two axes or more, and cases of one axis and of two.
FAULT = FAULTS["one_hot_squeezes"]
UNSEEN, SEEN = (Hit("one_hot", "eager", "scope", f"OneHotCase(shape={shape})") for shape in ((1,), (1, 1)))


def run(*known: Hit) -> tuple[str, int, str]:
    """How the fault ends, after how many cases, and the first case that kills it."""
    result = FaultRunner(MADE, PROFILES["quick"], 0, {FAULT.name: known}).run(FAULT, 60.0)
    return result.status, result.cases, result.hits[0].case


def test_a_fault_is_seen_where_it_was_seen_before() -> None:
    assert run(SEEN) == ("killed", 1, SEEN.case)


def test_a_fault_that_is_not_seen_there_any_more_is_looked_for() -> None:
    found = run()
    assert found[0] == "killed"
    assert run(UNSEEN) == found
    assert run(UNSEEN._replace(case="NoSuchCase()"), UNSEEN._replace(mode="no_such_mode")) == found


def test_a_law_that_is_violated_without_the_fault_is_told_to_kill_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    law = "padding_row_gets_no_gradient"
    family = load_families()["padding"]
    laws = [replace(each, judge=lambda case, out: same(out.weight_grad, -1)) if each.name == law else each
            for each in family.laws]  # fmt: skip
    monkeypatch.setattr(family, "laws", laws)
    harmless = Fault("harmless", "padding", "Nothing is wrong.", contextlib.nullcontext)
    case = "LookupCase(num_embeddings=1, embedding_dim=1, shape=(1,), padding_idx=0)"
    runner = FaultRunner(Candidates(shipped()), PROFILES["quick"], 0, {})
    monkeypatch.setattr(runner, "candidates", lambda *_: [Hit("padding", "eager", "scope", case).candidate(family)])
    result = runner.run(harmless, 60.0)
    assert result.status == "survived"
    assert result.example.startswith(f"{law} is violated without the fault, so it can't kill (LookupCase(")
    assert result.example.endswith("; no other law of padding sees it")


@pytest.mark.parametrize(("every", "told"), [(False, ["one"]), (True, ["one", "two", "three"])])
def test_the_table_names_the_killer_or_every_law_that_was_violated(every: bool, told: list[str]) -> None:
    first, later = Hit("lookup", "eager", "scope", "", ("one", "two")), Hit("lookup", "vmap", "product", "", ("three",))
    result = FaultResult("planted", "lookup", "killed", hits=(first, later), cases=7)
    printed = printed_by(lambda out: out.print(table_of([result], every=every))).split()
    assert [word for word in printed if word in ("one", "two", "three")] == told
    assert "scope eager" in " ".join(printed)


def test_what_is_kept_are_faults_and_cases() -> None:
    """If not, `python -m selfcheck.by_hand FAMILY` looks anew."""
    assert KEPT.keys() <= FAULTS.keys()
    for fault, kept in KEPT.items():
        for hit in kept:
            assert hit.family in (FAULTS[fault].family, *FAULTS[fault].also), fault
            assert load_families()[hit.family].space.repair(parse(hit.case)) is not None, (fault, hit.case)


@pytest.mark.parametrize("name", sorted(load_families()))
def test_each_fault_was_seen_by_its_families(name: str) -> None:
    """If not, `python -m selfcheck.by_hand FAMILY` looks for it."""
    faults = [each for each in FAULTS.values() if name in (each.family, *each.also) and not each.control]
    lacking = [each.name for each in faults if all(hit.family != name for hit in KEPT.get(each.name, ()))]
    assert not [each for each in lacking if FAULTS[each].applies()]


def test_no_graph_that_was_made_without_a_fault_serves_with_it() -> None:
    mode, backend = "aot_eager", importlib.import_module("torch._dynamo")

    def spoiled(name: str) -> Any:
        def compiled(graph: Any, example: Any) -> Any:
            run = right(name)(graph, example)
            return lambda *inputs: [2 * each for each in run(*inputs)]

        return compiled

    right = backend.lookup_backend
    fault = Fault("doubled", "lookup", "", lambda: patched(backend, lookup_backend=spoiled), modes=(mode,))
    candidate = MADE.candidate("lookup", mode, LookupCase(3, 2, requires_grad=False))
    assert candidate is not None
    for planted in (Planted(fault), Planted(replace(fault, modes=()))):
        assert not any(MADE.judged(candidate))
        with planted:
            broken, failed = MADE.judged(candidate)
        assert (not failed, "lookup_copies_rows" in broken) == (True, bool(planted.fault.modes))
