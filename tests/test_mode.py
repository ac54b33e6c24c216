"""Modes: what they may run, what they say of themselves, and that their scripts stand alone."""

import itertools
import weakref
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from command import Patch
from warm import statuses

from embcheck.core.case import LookupCase
from embcheck.core.item import PROFILES, Item
from embcheck.core.law import Family, Plan, accepts
from embcheck.core.outcome import Outcome, ProcessDied
from embcheck.core.result import Difference, Holds, NotApplicable, Result, Unreachable, Violated
from embcheck.engine.crashes.isolate import NoAnswer
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execute import run
from embcheck.engine.execution import Execution
from embcheck.engine.script import script
from embcheck.engine.selection import sampled
from embcheck.families.dtensor.cases import DTensorCase
from embcheck.families.max_norm.cases import MaxNormCase
from embcheck.modes.mode import MODES, absent, modes_of, running
from embcheck.subject.collect import load_families, load_modes

load_modes()
FAMILIES = load_families()
LOOKUP, GRADIENT, PADDING, RENORM, SHARDED = (
    FAMILIES[name] for name in ("lookup", "gradient", "padding", "max_norm", "dtensor")
)
#: The modes that change what is called, but for those of which inductor writes code.
CALLED = [
    name for name, mode in MODES.items() if mode.calls and ("inductor" not in name or name == "inductor_decompositions")
]


def test_by_default_only_the_plain_modes_run() -> None:
    assert modes_of(LOOKUP) == ("eager", "no_grad", "inference") == running()
    assert set(running("all")) == set(MODES)
    assert modes_of(LOOKUP, "deepcopy,eager") == ("eager", "deepcopy")


def test_a_family_without_a_mode_has_a_reason() -> None:
    for family, mode in itertools.product(FAMILIES.values(), MODES.values()):
        has = mode.name in modes_of(family, "all")
        assert (absent(family, mode) is None) == has


def test_what_builds_a_layer_each_time_is_not_made_a_module() -> None:
    reason = MODES["deepcopy"].reason(LookupCase(2, 2, entry="functional_call"), LOOKUP)
    assert reason == "it builds a layer each time, which draws random numbers"
    assert MODES["deepcopy"].reason(LookupCase(2, 2, entry="module"), LOOKUP) is None


def test_laws_of_values_are_not_asked_without_values() -> None:
    unasked = {law.name for law in LOOKUP.laws if MODES["meta"].unasked(law)}
    assert "lookup_copies_rows" in unasked
    assert "lookup_output_has_documented_shape" not in unasked
    assert MODES["no_grad"].unasked(next(law for law in FAMILIES["max_norm"].laws if law.modes == frozenset({"graph"})))


def test_a_mode_samples_the_cases_by_its_cost() -> None:
    gate = PROFILES["gate"]
    few = list(sampled(LOOKUP, Item("lookup", "torch", "dtensor_rows", "scope"), gate, 0))
    many = list(sampled(LOOKUP, Item("lookup", "torch", "deepcopy", "scope"), gate, 0))
    assert 10 < len(few) < len(many)
    assert many == list(sampled(LOOKUP, Item("lookup", "torch", "deepcopy", "scope"), gate, 0))


@pytest.mark.usefixtures("uncompiled")
@pytest.mark.parametrize("name", CALLED)
def test_a_plain_case_obeys_every_law(name: str, full: bool) -> None:
    """By default each family of one entry, and with ``--full`` of three."""
    mode = MODES[name]
    if mode.lacking():
        pytest.skip(str(mode.lacking()))
    families = (LOOKUP, GRADIENT, PADDING) if mode.grad else (LOOKUP,)
    entries = ("functional", "module", "nested")
    of_one = zip(entries, families, strict=False) if mode.grad else zip(entries, itertools.repeat(LOOKUP))
    for entry, family in itertools.product(entries, families) if full else of_one:
        case = LookupCase(3, 2, (0, 2, 1, 2), (2, 2), padding_idx=0, entry=entry)
        laws = [law for law in family.laws if mode.unasked(law) is None]
        if name == "vmap_tables_and_indices" and family is not LOOKUP:
            continue
        results = evaluate(family, mode, case, laws, Execution())
        assert any(isinstance(result, Holds) for result in results) == (mode.reason(case, family) is None), entry
        for law, result in zip(laws, results, strict=True):
            assert isinstance(result, (Holds, NotApplicable)), (law.name, entry, result)


HERE = Execution()


def executed(family: Family, case: Any, execution: Execution = HERE) -> Outcome:
    """The outcome of a case in eager mode."""
    out = execution(family, MODES["eager"], case)
    assert isinstance(out, Outcome)
    return out


def test_scripts_run_without_embcheck() -> None:
    """They end with 1 where what comes out is called wrong, and so without an error; with 0 where only an error would be wrong."""
    raised = Difference("raised", "error", "raised", None, "raised")
    wrong = Difference("value", 'seen["value"].shape[0]', 2, 7, "2, expected 7")
    there = [name for name in CALLED if MODES[name].lacking() is None]
    texts = {}
    for name, found in ((there[0], raised), *((name, wrong) for name in there)):
        case = LookupCase(3, 2, (0, 2), (2,), entry="module" if name.startswith("jit_") else "functional")
        family = GRADIENT if MODES[name].grad else LOOKUP
        law = next(law for law in family.laws if law.judge is accepts)
        texts[name, int(found is wrong)] = text = script(family, MODES[name], law, case, found)
        assert "embcheck" not in text, name
    ended = dict(zip(texts, statuses([*texts.values()]), strict=True))
    assert {each: status for each, status in ended.items() if status != each[1]} == {}


@pytest.mark.parametrize("layout", ["contiguous", "column_slice", "transposed"])
def test_a_device_is_fed_and_read_like_the_cpu(layout: str) -> None:
    """Whatever is not called "cpu" takes the way of a device: copies there and back."""
    case = GRADIENT.space.repair(LookupCase(3, 2, (0, 2, 1, 2), (2, 2), padding_idx=0, layout=layout, dtype="bfloat16"))
    results = evaluate(GRADIENT, MODES["eager"], case, GRADIENT.laws, Execution("cpu:0"))
    assert {type(result) for result in results} == {Holds, NotApplicable}
    written = RENORM.space.repair(MaxNormCase(3, 2, (0, 2), (2,), max_norm=0.5, values="mixed", layout=layout))
    out = run(RENORM.plan(written), MODES["eager"], "cpu:0")
    assert out.written() == {"weight": "its elements changed"}


def test_what_forks_is_executed_by_a_process_that_has_run_nothing() -> None:
    case = SHARDED.space.repair(DTensorCase(num_embeddings=5, shape=(4,), ranks=2, table="columns"))
    here, there = run(SHARDED.plan(case), MODES["eager"]), executed(SHARDED, case)
    assert there.error is None
    both = [{name: seen.tolist() for name, seen in out.seen.items()} for out in (here, there)]
    assert both[0] == both[1]
    assert there.written() == {}
    refused = executed(SHARDED, case.but(out_of_range="V"))
    assert isinstance(refused.error, IndexError)


def test_what_is_executed_elsewhere_meets_what_is_planted() -> None:
    case = SHARDED.space.repair(DTensorCase(num_embeddings=5, shape=(4,), ranks=2))
    fault = (("selfcheck.fault:planting", "ranks_look_up_the_next_token"),)
    first, second = executed(SHARDED, case, Execution(setup=fault)).value.values
    assert first.tolist() == case.weight[case.tokens].tolist() != second.tolist()


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NoAnswer("the process that isolates crashes died itself"), Unreachable),
        (ProcessDied("crash SIGSEGV"), Violated),
        (ProcessDied("hang"), Violated),
    ],
)
def test_a_case_of_which_nothing_comes_back(monkeypatch: Patch, raised: Exception, expected: type[Result]) -> None:
    """A case whose own process dies of it, or comes to no end, violates the law that it is accepted; else nothing is known."""

    monkeypatch.setattr("embcheck.engine.execution.elsewhere", Mock(side_effect=raised))
    case = SHARDED.space.repair(DTensorCase(num_embeddings=5, shape=(4,), ranks=2))
    accepted = next(law for law in SHARDED.laws if law.judge is accepts)
    (result,) = evaluate(SHARDED, MODES["eager"], case, [accepted], Execution())
    assert type(result) is expected
    if isinstance(result, Violated):
        assert result.difference.kind == str(raised)


def test_what_an_error_was_raised_in_ends_with_the_case() -> None:
    """As hooks of a checkpoint, which a generator takes away when it is closed: a traceback would keep it open."""
    held: list[weakref.ref[torch.nn.Module]] = []

    def program() -> dict[str, Any]:
        hooked = torch.nn.Identity()
        held.append(weakref.ref(hooked))
        try:
            raise KeyError("inner")
        except KeyError:
            raise ValueError("outer") from None

    out = run(Plan(program, {}, {}), MODES["eager"])
    assert isinstance(out.error, ValueError)
    assert [each() for each in held] == [None]
