"""The one evaluator: a closed result for whatever happens, nothing inferred from silence; and what is said beside a difference."""

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from packaging.specifiers import SpecifierSet
from packaging.version import Version

from embcheck.core.case import LookupCase
from embcheck.core.comparison import same
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import accepts
from embcheck.core.ledger import Entry, Ledger
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding, NotApplicable, OracleFailed, Raised, Result, Violated
from embcheck.core.verdict import Status, Verdict
from embcheck.engine import run_item
from embcheck.engine.evaluate import ADDED, evaluate, named
from embcheck.engine.execute import read
from embcheck.engine.execution import Execution
from embcheck.engine.reduce import reduce_case
from embcheck.engine.run_item import counterexample
from embcheck.engine.tally import Tallies
from embcheck.engine.violation_context import elsewhere, nearest
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.param_groups.cases import ParamGroupsCase
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families
from selfcheck.fault import patched

FAMILIES = load_families()
PADDING = FAMILIES["padding"]
CASE = LookupCase(3, 2, (0, 2, 1, 2), (4,), padding_idx=0)
ZERO = next(law for law in PADDING.laws if law.name == "padding_row_gets_no_gradient")


def error_of(judge: Callable[[Any, Outcome], Any], **fields: Any) -> str:
    """What is said of a law of the padding family that errs."""
    law = replace(ZERO, judge=judge, implied_by="", **fields)
    (result,) = evaluate(PADDING, MODES["eager"], CASE, [law], Execution())
    assert isinstance(result, OracleFailed)
    return result.error


@pytest.mark.parametrize("returned", [None, False, True, float("nan"), 0.5, "yes", [], ...])
def test_what_no_comparison_returns_is_no_result(returned: Any) -> None:
    assert error_of(lambda case, out: returned).startswith(f"the law {ZERO.name} returned")


def test_an_oracle_that_stumbles_over_the_outcome_has_seen_a_violation() -> None:
    out = Outcome({"value": torch.zeros(4, 2), "tokens": torch.tensor([0, 2, 1, 7])}, read)
    rows = replace(ZERO, judge=lambda case, out: same(out.value, case.weight_values[out.tokens.values]), implied_by="")
    (result,) = evaluate(PADDING, MODES["eager"], CASE, [rows], Mock(return_value=out))
    assert isinstance(result, Violated)
    assert result.difference.kind == "unreadable"
    assert result.difference.path == 'seen["tokens"]'
    assert result.difference.got == [0, 2, 1, 7]
    assert "IndexError" in result.difference.words


def test_a_program_that_raises_is_no_verdict_on_the_other_laws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "embedding", Mock(side_effect=RuntimeError("broken")))
    results = evaluate(PADDING, MODES["eager"], CASE, PADDING.laws, Execution())
    assert isinstance(results[0], Violated), "nothing is raised: a law of its own"
    assert {type(result) for result in results[1:]} <= {Raised, NotApplicable}
    assert Raised("RuntimeError: broken") in results


@pytest.mark.parametrize(("version", "result"), [("2.8.1+cu128", NotApplicable), ("2.9.0", Violated)])
def test_a_name_is_absent_only_before_the_release_with_which_it_came(
    monkeypatch: pytest.MonkeyPatch, version: str, result: type[Result]
) -> None:
    case = ParamGroupsCase("Muon", "matrices")
    law = next(law for law in FAMILIES["param_groups"].laws if law.judge is accepts)
    monkeypatch.delattr(torch.optim, "Muon")
    monkeypatch.setattr(torch, "__version__", version)
    assert type(evaluate(FAMILIES["param_groups"], MODES["eager"], case, [law], Execution())[0]) is result


@pytest.mark.parametrize("name", sorted(ADDED))
def test_what_programs_name_is_there_since(name: str) -> None:
    module, _, attribute = name.rpartition(".")
    there = hasattr(importlib.import_module(module), attribute)
    assert there == (Version(torch.__version__) >= Version(ADDED[name]))


def test_a_law_that_errs_is_named_by_its_error() -> None:
    divided = f"the law {ZERO.name} raised ZeroDivisionError: division by zero, on {CASE!r}"
    assert error_of(lambda case, out: 1 / 0) == divided
    assert error_of(lambda case, out: HOLDS, when=lambda case: 1 / 0)
    words = f"the law {ZERO.name} asks for 'nothing', which the program does not give; it gives leaf, "
    assert error_of(lambda case, out: same(out.nothing, 0)).startswith(words)


def test_an_exception_of_embchecks_own_while_a_case_is_executed_is_a_result() -> None:
    with patched(PADDING, plan=Mock(side_effect=KeyError("plan"))):
        results = evaluate(PADDING, MODES["eager"], CASE, PADDING.laws, Execution())
    assert {type(result) for result in results} == {OracleFailed}


ITEM = Item("padding", "torch", "eager", "scope")


def ruled(judge: Callable[[Any, Outcome], Any]) -> Verdict:
    """The verdict of an item on a law that judges so."""
    with patched(PADDING, laws=[PADDING.laws[0], replace(ZERO, judge=judge, implied_by="")]):
        return run_item.run_item(PADDING, ITEM, PROFILES["quick"], 0, Ledger())[1]


# -- reduction -----------------------------------------------------------------------------------------------------


def test_a_smaller_case_has_facts_or_is_none() -> None:
    """A bag whose table shrinks below a token has none; it must not end the reduction of those that have."""
    case = BagCase(num_embeddings=5, embedding_dim=3, indices=(4, 2, 4), bags=(3,), numel=3)
    space = FAMILIES["embedding_bag"].space
    seen = []

    def fails(smaller: Any) -> bool:
        seen.append(smaller.facts())
        return 4 in smaller.tokens

    smallest, _ = reduce_case(case, space, fails)
    assert seen
    assert 4 in smallest.tokens
    for neighbour, tried in ((LookupCase(1, 1), 1), (Unread(1, 1), 0)):
        around = Mock(reductions=lambda case, neighbour=neighbour: [neighbour] * (case is CASE))
        assert reduce_case(CASE, around, lambda smaller: True) == (neighbour if tried else CASE, tried)


class Unread(LookupCase):
    """A case whose facts can't be computed."""

    def facts(self) -> Any:
        raise IndexError("index 4 is out of bounds")


@pytest.mark.parametrize("part", ["reduce_case", "script"])
def test_an_exception_while_reducing_costs_the_reduction(monkeypatch: pytest.MonkeyPatch, part: str) -> None:
    monkeypatch.setattr(run_item, part, Mock(side_effect=IndexError("embcheck's own")))
    verdict = ruled(lambda case, out: Difference("value", "seen", 1, 2, "1, expected 2"))
    assert verdict.status == Status.VIOLATED
    (example,) = verdict.counterexamples
    assert "IndexError: embcheck's own" in example.words


# -- verdicts ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("judge", "status"),
    [
        (lambda case, out: None, Status.UNKNOWN),
        (lambda case, out: NotApplicable("nothing here"), Status.NOT_APPLICABLE),
        (lambda case, out: HOLDS, Status.HOLDS),
        (lambda case, out: 1 / 0, Status.UNKNOWN),
    ],
)
def test_a_law_without_a_judged_case_does_not_hold(judge: Any, status: Status) -> None:
    verdict = ruled(judge)
    assert (verdict.status, bool(verdict.cases)) == (status, status == Status.HOLDS)


def test_a_program_that_exits_is_unknown_and_an_interruption_interrupts(monkeypatch: pytest.MonkeyPatch) -> None:
    program = Mock(side_effect=[SystemExit(7), GeneratorExit(), KeyboardInterrupt()])
    monkeypatch.setattr(torch.nn.functional, "embedding", program)
    for _ in range(2):
        assert isinstance(evaluate(PADDING, MODES["eager"], CASE, [ZERO], Execution())[0], OracleFailed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(PADDING, MODES["eager"], CASE, [ZERO], Execution())


@pytest.mark.parametrize("error", [SystemExit(7), RuntimeError("no more"), GeneratorExit()])
def test_an_item_that_ends_early_leaves_its_laws_unknown(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def cases(*_: Any) -> Iterator[Any]:
        yield CASE
        raise error

    monkeypatch.setattr("embcheck.engine.selection.cases", cases)
    verdicts = run_item.run_item(PADDING, ITEM, PROFILES["quick"], 0, Ledger())
    assert {verdict.status for verdict in verdicts} == {Status.UNKNOWN}
    assert all(verdict.reasons == (f"the item ended in {named(error)}",) for verdict in verdicts)
    assert any(verdict.cases for verdict in verdicts), "what was judged before stays judged"


# -- other modes on the same case, and the nearest known violation ----------------------------------------------------

LOOKUP, LOOKUP_ITEM = FAMILIES["lookup"], Item("lookup", "torch", "eager", "scope")
UNPADDED = CASE.but(padding_idx=None)
COPIES = next(law for law in LOOKUP.laws if law.name == "lookup_copies_rows")
FOUND = Difference("value", "out", 1.0, 2.0, "1, expected 2")


def wrong_in(*modes: str) -> Any:
    """A law that some modes break."""

    def judge(case: LookupCase, out: Outcome) -> Finding:
        return FOUND if out.mode in modes else HOLDS

    return replace(COPIES, judge=judge, implied_by="")


def tallies_of(mode: str, **more: Any) -> Tallies:
    return Tallies(LOOKUP, MODES[mode], more.pop("ledger", Ledger()), **more)


def raising(family: Any, mode: Any, case: Any) -> Outcome:
    """An execution that raises."""
    return Outcome({}, read, mode=mode.name, makes_graph=True, error=ValueError("no"))


@pytest.mark.parametrize(
    ("mode", "more", "wrong", "told"),
    [
        ("eager", {}, ("eager",), {"no_grad": "holds", "inference": "holds"}),
        ("no_grad", {}, ("no_grad", "eager"), {"eager": "violated", "inference": "holds"}),
        ("inference", {}, ("eager", "no_grad", "inference"), {"eager": "violated", "no_grad": "violated"}),
        ("eager", {"execute": raising}, ("eager",), dict.fromkeys(("no_grad", "inference"), "raised ValueError: no")),
        ("eager", {"probe": lambda cases: [None] * len(cases)}, ("eager",), {}),  # it may take the process down
    ],
)
def test_other_modes_are_asked_on_the_same_case(
    mode: str, more: dict[str, Any], wrong: tuple[str, ...], told: dict[str, str]
) -> None:
    assert elsewhere(tallies_of(mode, **more), wrong_in(*wrong), UNPADDED) == told


def test_a_counterexample_carries_both() -> None:
    known = entry("known-one", where={"rank": 0})
    tallies, law = tallies_of("eager", ledger=Ledger((known,))), wrong_in("eager")
    example = counterexample(tallies, law, UNPADDED, FOUND, LOOKUP_ITEM, [])
    assert example.elsewhere == {"no_grad": "holds", "inference": "holds"}
    assert example.resembles == "known-one, which speaks of rank = 0"
    plain = counterexample(tallies, law, UNPADDED, FOUND, LOOKUP_ITEM, [], reduce=False)
    assert plain.elsewhere == {}


def test_a_case_is_not_reduced_to_one_on_which_torch_breaks_the_law_otherwise() -> None:
    """There the failure would be told of a torch in which it is mended."""
    for ledger, reduced in ((Ledger(), True), (Ledger((entry("known-one", where={"numel": 0}, kind="bits"),)), False)):
        example = counterexample(
            tallies_of("eager", ledger=ledger), wrong_in("eager"), UNPADDED, FOUND, LOOKUP_ITEM, []
        )
        assert ("shape=(0,)" in example.case) is reduced


def entry(name: str, **more: Any) -> Entry:
    fields = {"law": COPIES.name, "where": {}, "witness": "", "reason": "", "name": name}
    return Entry(**{**fields, **more})


FAR = entry("far", where={"rank": 0, "dtype": "float64"})
OLD, AMX = entry("old", torch=SpecifierSet("<2.0")), entry("there", machine={"onednn_kernel": "*amx*"})


@pytest.mark.parametrize(
    ("ledger", "told"),
    [
        (Ledger(), ""),
        (Ledger((entry("other", law="another_law"),)), ""),
        (Ledger((FAR, entry("near", where={"rank": 0, "dtype": "float32"}))), "near, which speaks of rank = 0"),
        (Ledger((entry("mode", mode="vmap"),)), "mode, which speaks of mode vmap"),
        (Ledger((entry("device", device="cuda*"),)), "device, which speaks of device cuda*"),
        (Ledger((entry("kind", kind="bits: NaN"),)), "kind, which speaks of a difference of kind bits: NaN"),
        (Ledger((entry("sort", kind="bound", instead="any"),)), "sort, which speaks of a difference of kind bound"),
        (Ledger(elsewhere=(OLD,)), "old, which speaks of torch <2.0"),
        (Ledger(some_machines=(AMX,)), "there, which speaks of machines with onednn_kernel *amx*"),
        (Ledger((FAR,), elsewhere=(OLD,)), "far, which speaks of rank = 0, dtype = 'float64'"),
        (Ledger(elsewhere=(replace(OLD, where={"rank": 0}),)), ""),
        (Ledger((entry("unrelated", mode="vmap", where={"rank": 0, "dtype": "float64"}),)), ""),
    ],
)
def test_the_nearest_entry_is_that_which_misses_by_the_least(ledger: Ledger, told: str) -> None:
    assert nearest(ledger, COPIES.name, "eager", "cpu", FOUND, UNPADDED) == told


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"kind": "value: NaN"}, "one, which speaks of a difference of kind value: NaN"),
        ({"kind": "value: NaN", "cause": "a-bug-of-torch"}, ""),
        ({"where": {"entry": "mine:Other"}}, ""),
        ({"where": {"entry": "mine:Layer", "rank": 0}}, "one, which speaks of rank = 0"),
    ],
)
def test_the_nearest_entry_of_a_layer_is_one_of_the_users(more: dict[str, Any], told: str) -> None:
    ledger = Ledger((entry("one", **more),))
    assert nearest(ledger, COPIES.name, "eager", "cpu", FOUND, UNPADDED.but(entry="mine:Layer")) == told
