"""Drawn faults of decompositions and lowerings: each damage shows in a graph, and what comes of a fault is told apart."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from test_drawn_faults import in_vain

from embcheck.core.deck import aimed_cases
from embcheck.core.facts import conditions, holds
from embcheck.core.item import PROFILES
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_modes
from selfcheck import reach_graphs
from selfcheck.candidates import Candidates, every_case, shipped
from selfcheck.contradictions import compared
from selfcheck.damages import Damage
from selfcheck.drawn import Fault, damages
from selfcheck.rules import GIVEN, OF_GRAPHS
from selfcheck.tensor_plans import differs
from selfcheck.traced import TRACED_SITES, facts, tables
from selfcheck.tracing import TracedJudging, TracedSites

Tensor = torch.Tensor
aten = torch.ops.aten

TABLE = torch.tensor([[1.0, 2.5, 3.1], [4.3, 5.2, 6.7], [7.1, 8.6, 9.9], [1.3, 2.2, 4.4]])
TOKENS, OFFSETS = torch.tensor([1, 3, 1, 0]), torch.tensor([0, 1, 3])
UPSTREAM, ZEROS = TABLE.flip(0) + 0.7, torch.zeros(4, 3)
MASK = torch.tensor([[True], [False], [True], [True]])
BAG2 = torch.tensor([0, 1, 1, 2])
_BAG = (TABLE, TOKENS, OFFSETS, False, 0, False, torch.tensor([0.5, 2.0, 3.0, 4.0]), False, 1)
#: A call of each operator that every damage of it changes; another mode is none of a bag with weights.
CALLS: dict[str, tuple[tuple[Any, ...], ...]] = {
    "embedding": ((TABLE, TOKENS),),
    "embedding_dense_backward": ((UPSTREAM, TOKENS, 4, 3, False), (UPSTREAM, TOKENS, 4, -1, False)),
    "index_select": ((TABLE, 0, TOKENS),),
    "masked_fill": ((TABLE, MASK.logical_not(), 0.5),),
    "_unsafe_index_put": ((ZEROS, [TOKENS], UPSTREAM, True),),
    "_unsafe_masked_index_put_accumulate": ((ZEROS, MASK, [TOKENS], UPSTREAM),),
    "index": ((TABLE, [TOKENS]),),
    "div": ((TABLE, TABLE.flip(0)),),
    **dict.fromkeys(("_embedding_bag", "_embedding_bag_forward_only"), (_BAG, (*_BAG[:4], 1, False, None, False, 2))),
    "_embedding_bag_per_sample_weights_backward": ((UPSTREAM[:3], TABLE, TOKENS, OFFSETS, BAG2, 0, 1),),
}


def one_after_another(site: str, every: list[Damage]) -> tuple[Fault, Damage]:
    """A fault that does to each call the next damage."""

    def of(call: Any) -> Damage:
        earlier: int = call.facts["earlier"]
        return every[earlier % len(every)]

    each = Damage("each", give=lambda call: of(call).given(call), planner=lambda *told: of(told[1]).plan(*told))
    return Fault(site, "earlier>=0", "each"), each


def first(result: Any) -> Tensor:
    found: Tensor = result[0] if isinstance(result, (list, tuple)) else result
    return found.clone()


def results(site: str, planted: list[Damage] | None) -> list[Tensor]:
    """What calls of a site give, one for each of its damages in turn; lowerings in one graph."""
    count, operator = len(damages(site)), TRACED_SITES[site].operator
    calls = CALLS[site.partition(".")[2]]

    def run(called: Callable[..., Any]) -> list[Tensor]:
        # On other tables each, for a graph has one call for those that are alike.
        return [first(called(given[0] + turn, *given[1:])) for given in calls for turn in range(count)]

    with TracedSites([site]).installed() as sites:
        if planted:
            sites.plant(*one_after_another(site, planted))
        if site.startswith("lowering."):
            with torch.no_grad():
                return torch.compile(lambda: run(operator), backend="inductor", fullgraph=True)()
        return run(next(table[operator] for table in tables(TRACED_SITES[site]) if operator in table))


def unseen(site: str) -> list[str]:
    """The damages of a site that change no call."""
    every = list(damages(site))
    shown = list(map(differs, results(site, None), results(site, every)))
    return [each.name for k, each in enumerate(every) if not any(shown[k :: len(every)])]


@pytest.mark.parametrize("site", [each for each in TRACED_SITES if each.startswith("decomposition.")])
def test_every_damage_of_a_decomposition_shows(site: str) -> None:
    assert unseen(site) == []


@pytest.mark.parametrize("name", ["embedding", "_unsafe_masked_index_put_accumulate", "_embedding_bag"])
def test_every_damage_of_a_lowering_shows(name: str) -> None:
    """In one graph that inductor compiles; these sites have all damages between them."""
    load_modes()
    if (lacking := MODES["inductor"].lacking()) is not None:
        pytest.skip(lacking)
    assert unseen(f"lowering.{name}") == []


def test_tables_are_as_before_afterwards() -> None:
    site = TRACED_SITES["decomposition.embedding_dense_backward"]
    before = [table[site.operator] for table in tables(site)]
    with TracedSites([site.name]).installed():
        assert all(table[site.operator] is not right for table, right in zip(tables(site), before, strict=True))
    assert [table[site.operator] for table in tables(site)] == before


def test_a_fault_is_killed_inert_or_not_reached() -> None:
    lines = (
        "decomposition.embedding_dense_backward  padding_idx>=0  ->  give(padding_idx=none)",
        "decomposition.embedding_dense_backward  num_weights=12345  ->  swap",
        "decomposition.embedding_dense_backward  indices_numel=0  ->  give(grad_output=double)",
        "decomposition.embedding_dense_backward  indices_numel>=1  ->  swap",
    )
    drawn = list(map(Fault.of, lines))
    made = Candidates(shipped())
    cases = [case for _, case in every_case(made.families["padding"], PROFILES["quick"], 0, ("decompositions",))]
    found = [made.candidate("padding", "decompositions", case) for case in cases]
    with TracedSites([drawn[0].site]).installed() as sites:
        judging = TracedJudging([each for each in found if each is not None], made.ledger, sites)
        record = judging.record(drawn, range(len(judging.candidates)))
        assert record.wrong == []
        results = [judging.result(each, record.met.get(k, []), ()) for k, each in enumerate(drawn)]
    assert [each.status for each in results] == ["killed", "not reached", "inert", "killed"]
    assert "padding_row_gets_no_gradient" in results[0].laws
    assert results[0].case.startswith("decompositions: LookupCase(")


def test_a_compiled_case_is_compiled_anew_for_a_fault() -> None:
    made = Candidates(shipped())
    ((_, case), *_) = every_case(made.families["gradient"], PROFILES["quick"], 0, ("aot_decomposed",))
    fault = Fault.of("decomposition.embedding_dense_backward  earlier>=0  ->  double(all)")
    candidate = made.candidate("gradient", "aot_decomposed", case)
    assert candidate is not None
    with TracedSites([fault.site]).installed() as sites:
        judging = TracedJudging([candidate], made.ledger, sites)
        assert judging.record([fault], [0]).met == {0: [0]}
        assert judging.result(fault, [0], ()).status == "killed"


def test_facts_are_told_of_lists_and_three_lowerings_have_every_damage() -> None:
    told = facts({"self": TABLE.T, "indices": [None, TOKENS], "padding_idx": 3, "per_sample_weights": None})
    assert (told["self_layout"], told["self_rows"], told["indices_numel"]) == ("transposed", 3, 4)
    assert (told["padding_idx"], told["per_sample_weights"], told["mode"]) == (3, None, None)
    every = {site: {each.name for each in damages(site)} for site in TRACED_SITES if site.startswith("lowering.")}
    some = ("embedding", "_unsafe_masked_index_put_accumulate", "_embedding_bag")
    assert set().union(*every.values()) == set().union(*(every[f"lowering.{name}"] for name in some))


@pytest.mark.parametrize(("part", "tried"), zip(reach_graphs.PARTS, (500, 10), strict=True), ids=("called", "lowered"))
def test_calls_contradict_nothing(part: reach_graphs.Part, tried: int) -> None:
    """What is said to be so of every call, and to follow from a condition, holds for the calls of cases that *full* runs."""
    load_modes()
    if (lacking := MODES[part.mode].lacking()) is not None:
        pytest.skip(lacking)
    made, recorder, seen = Candidates(shipped()), reach_graphs.Recorder(), set[str]()
    with recorder.installed():
        for name in ("gradient", "embedding_bag"):
            family = made.families[name]
            aimed = list(aimed_cases(family, part.mode))
            for case in aimed[:: max(1, len(aimed) // tried)]:
                candidate = made.candidate(name, part.mode, case)
                for site, calls in {} if candidate is None else recorder.of(candidate).items():
                    assert [words for facts in calls for words in wrong(site, facts)] == [], case
                    seen.add(site)
    wanted = {site for site in TRACED_SITES if site.startswith(part.sites)}
    assert wanted - seen <= {"decomposition._unsafe_masked_index_put_accumulate"}


HALF = "keeps_half=False"


def wrong(site: str, facts: dict[str, Any]) -> list[str]:
    """What is said of a call that is not so; of counts, which are no numbers of a table's dtype, less is said."""
    half = facts["self_dtype"] in ("float16", "bfloat16")
    given = [
        text
        for text in GIVEN.get(site, ())
        if not (not half if text == HALF else compares(text, facts) if compared(text) else holds(text, facts))
    ]
    implied = (pair for pair in OF_GRAPHS if pair[1] != "keeps_half" and holds(pair[0], facts))
    return given + [f"{one}: {other}" for one, other in implied if not compares(other, facts)]


def compares(text: str, facts: dict[str, Any]) -> bool:
    """Whether the facts that there are meet a condition, or compare as a text says."""
    if pairs := compared(text):
        return all(None in (facts[one], facts[other]) or facts[one] <= facts[other] for one, other in pairs)
    return all(facts[each.fact] is None or each.holds(facts) for each in conditions(text))


@pytest.mark.parametrize(
    "line",
    [
        "decomposition._unsafe_index_put  accumulate=False  ->  shift",
        "decomposition.masked_fill  self_rank=1 & mask_rank=2  ->  shift",
        "decomposition._unsafe_index_put  values_rank=3 & indices_rank=1  ->  shift",
        "decomposition.embedding_dense_backward  indices_numel=2 & grad_output_rows=3  ->  shift",
        "decomposition.embedding_dense_backward  indices_rank=0  ->  give(scale_grad_by_freq=other)",
        "lowering.embedding  weight_rows=1  ->  give(indices=first)",
        "lowering.embedding  indices_numel=1  ->  shift",
        "lowering._embedding_bag  weight_rows=1 & padding_idx=1  ->  double(all)",
        "decomposition.masked_fill  self_dtype=float16  ->  shift",
        "decomposition.embedding_dense_backward  indices_rank=0 & grad_output_rank=2  ->  shift",
        "decomposition.embedding_dense_backward  padding_idx=0  ->  zero(first)",
        "lowering.embedding  indices_rows=1  ->  swap", "lowering._embedding_bag  mode=0  ->  give(mode=other)",
        "lowering.embedding  weight_layout=transposed  ->  shift",
        "decomposition.index_select  self_rows=1  ->  swap", "lowering.embedding  weight_rows=1  ->  repeat(first)",
        "decomposition.embedding  weight_rows=1 & weight_columns=1 & weight_layout=expanded  ->  double(all)",
        "decomposition.masked_fill  self_rank=1 & self_layout=transposed  ->  double(all)",
        "decomposition.embedding  indices_rank=1 & indices_layout=expanded  ->  shift",
        "decomposition.embedding_dense_backward  indices_rank=1 & indices_layout=expanded  ->  give(indices=first)",
        "lowering._unsafe_masked_index_put_accumulate  mask_rank=1 & indices_rank=0 & values_rows=1 & self_columns=8  ->  shift",
    ],
)  # fmt: skip
def test_what_changes_nothing_is_not_drawn(line: str) -> None:
    assert in_vain(line)


def test_what_may_change_something_is_drawn() -> None:
    expanded = "indices_layout=expanded"
    assert not in_vain(f"decomposition.embedding  indices_rank=2 & {expanded}  ->  shift")
    shifted = "give(grad_output=shifted)"
    assert not in_vain(f"decomposition.embedding_dense_backward  indices_rank=1 & {expanded}  ->  {shifted}")
