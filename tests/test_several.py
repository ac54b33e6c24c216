"""Several calls in one case: each is judged, and they differ in what their result does not hang on."""

import itertools
from typing import Any

import pytest
import torch

from embcheck.core.case import LookupCase
from embcheck.core.result import Violated
from embcheck.engine.evaluate import evaluate
from embcheck.engine.execution import Execution
from embcheck.families.conversion.cases import ConversionCase
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.lookup.several import FACTORS, STRIDES, TURNS, Tokens, departures, relaid, stacked, tiled
from embcheck.families.max_norm.cases import MaxNormCase
from embcheck.families.one_hot.cases import OneHotCase
from embcheck.modes.mode import MODES
from embcheck.subject.collect import load_families
from selfcheck.drawn import Fault
from selfcheck.planting import Sites
from selfcheck.site import layout

DENSE = LookupCase(3, 4, "cycle", (2, 3), route="several", dtype="float64")
BAG = BagCase(3, 4, "max", 5, (2, 3), route="several", indices="cycle")
WEIGHTED = BAG.but(mode="sum", weights="small", learns="both")
LIMITED = MaxNormCase(4, 3, "cycle", (4,), max_norm=1.0, values="mixed", route="several")
LINEAR = ConversionCase(5, 4, "to_linear", "permutation", (5,), company="several", dtype="float64", values="wide")
#: So many calls each of these has.
CALLS = len(FACTORS) + 2


def broken(kernels: Sites, family: str, case: Any, fault: Fault | None = None) -> list[str]:
    found = load_families()[family]
    kernels.plant(fault)
    kernels.forget()
    results = evaluate(found, MODES["eager"], case, found.laws, Execution())
    return [law.name for law, result in zip(found.laws, results, strict=True) if isinstance(result, Violated)]


@pytest.mark.parametrize(
    ("family", "case", "site"),
    [
        ("gradient", DENSE, "embedding"),
        ("gradient", DENSE, "embedding_dense_backward"),
        ("gradient", DENSE.but(sparse=True), "embedding_sparse_backward"),
        ("embedding_bag", BAG, "_embedding_bag"),
        ("embedding_bag", BAG.but(mode="mean"), "_embedding_bag_dense_backward"),
        ("embedding_bag", WEIGHTED, "_embedding_bag_per_sample_weights_backward"),
        ("embedding_bag", BAG.but(learns="none"), "_embedding_bag_forward_only"),
        ("max_norm", LIMITED, "embedding_renorm_"),
        ("one_hot", OneHotCase(3, "cycle", (5,), history="several"), "one_hot"),
        ("conversion", LINEAR.but(bias="whole"), "addmm"),
    ],
)
@pytest.mark.parametrize("damage", ["zero(last)", "stale", "double(first)"])
def test_each_call_that_changes_is_seen(kernels: Sites, family: str, case: Any, site: str, damage: str) -> None:
    assert broken(kernels, family, case) == []
    seen = 0
    for earlier in range(CALLS):
        fault = Fault(site, f"earlier={earlier}", damage)
        kernels.watch([fault])
        killed = broken(kernels, family, case, fault)
        assert kernels.met or earlier == len(FACTORS) + 1, earlier
        assert bool(killed) == bool(kernels.changed), earlier
        seen += bool(killed)
    assert seen >= 2 or damage == "stale"


def test_factors_never_come_twice_in_turn() -> None:
    assert all(one != other for one, other in itertools.pairwise(FACTORS))


def test_any_two_tensors_have_all_pairs_of_strides() -> None:
    for one, other in itertools.combinations(range(3), 2):
        assert len({(turn[one], turn[other]) for turn in TURNS}) == len(STRIDES) ** 2


@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3), (2, 3, 4)])
@pytest.mark.parametrize("strides", STRIDES)
def test_what_is_laid_otherwise_is_the_same(shape: tuple[int, ...], strides: str) -> None:
    tensor = torch.arange(1, 1 + torch.Size(shape).numel()).reshape(shape)
    found = relaid(tensor, strides)
    assert torch.equal(found, tensor)
    assert found.untyped_storage().data_ptr() != tensor.untyped_storage().data_ptr()
    if len(shape) > 1:
        assert layout(found) == ("contiguous" if strides == "offset" else strides)
        assert (found.storage_offset() > 0) == (strides == "offset")


def test_what_departs_from_the_first_is_shown() -> None:
    first = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    assert departures(tiled(first, 5, 3), first) == []
    found = tiled(first, 5, 3).clone()
    found[4, 2] = 9
    assert torch.equal(torch.stack(departures(found, first)), torch.tensor([[[9.0, 2.0], [3.0, 4.0]]]).double())
    behind = tiled(first, 5, 2).clone()
    behind[2:] = 0
    assert departures(behind, first, 2) == []
    behind[3, 1] = 7
    (shown,) = departures(behind, first, 2)
    assert shown.isnan().tolist() == [[False, False], [False, True]]
    strange = torch.tensor([[float("nan"), float("inf")]])
    assert departures(strange.clone(), strange) == []
    assert departures(-strange, strange)
    assert stacked("values", first, [], (2, 2)) == {}


@pytest.mark.parametrize("repeats", [False, True])
def test_tokens_that_come_again_get_the_same_gradient(repeats: bool) -> None:
    first, rows = torch.tensor([1, 0, 1, 3]), 5
    upstream = torch.tensor([[1.0], [2.0], [4.0], [8.0]])
    due = torch.zeros(rows, 1).index_add_(0, first, upstream)
    seen = set()
    for turn in range(40):
        tokens = Tokens.at(turn, first, rows, 200, repeats)
        given, sent = tokens.given, tokens.sent(upstream, due)
        assert len(given) == len(sent) == tokens.total
        grad = torch.zeros(tokens.copies * rows, 1).index_add_(0, given, sent)
        assert departures(grad, due) == []
        seen.add((tokens.copies > 1, tokens.total > tokens.copies * len(first)))
    assert seen == {(False, False), (True, False), *([(False, True)] if repeats else [])}


def test_a_users_layer_and_special_tables_have_single_calls() -> None:
    gradient, bag = load_families()["gradient"].space, load_families()["embedding_bag"].space
    for case in (DENSE.but(values="special"), DENSE.but(entry="one_hot_product")):
        assert gradient.repair(case).route == "backward_call"
    assert gradient.repair(DENSE).route == "several"
    for bags in (BAG.but(values="special"), BAG.but(entry="layers:Bag"), BAG.but(bags=(), numel=0)):
        assert bag.repair(bags).route == "backward_call"
    assert bag.repair(BAG.but(learns="none")).route == "several"
