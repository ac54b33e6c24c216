"""Drawn faults: each damage shows, each line replays, what contradicts itself is not drawn, and counts are told apart."""

import itertools
from typing import Any
from unittest.mock import Mock

import pytest
import torch
from torch.nn import functional as F

from selfcheck import runner
from selfcheck.aiming import ENOUGH, Aimed, built
from selfcheck.conditions import TABLES
from selfcheck.contradictions import contradictory
from selfcheck.drawn import Fault, damage_of, damages, senseless, site_of
from selfcheck.judging import DrawnResult, Judging, deck
from selfcheck.kernels import SITES
from selfcheck.planting import Planted, Sites
from selfcheck.tensor_plans import differs

Tensor = torch.Tensor


def seen(dtype: torch.dtype, mode: str, samples: bool, **flags: bool) -> list[Tensor]:
    """What calls of every site give, the second on other values: a strided table, padding that is looked up, repeats."""
    found = []
    for turn in (1, 2):
        wide = torch.linspace(-3, 3, 6 * 8, dtype=torch.float64).reshape(6, 8).to(dtype) * turn
        weight = wide[:, 1:6].detach().requires_grad_()
        tokens = torch.tensor([4, 3, 4, 0, 3, 5])
        tokens = tokens if turn == 1 else tokens.flip(0)
        out = F.embedding(tokens, weight, 3, **flags)
        upstream = torch.linspace(1, 2, 6 * 10, dtype=torch.float64).to(dtype).reshape(6, 10).mul(turn)[:, ::2]
        (grad,) = torch.autograd.grad(out, weight, upstream)
        given = torch.linspace(0.5, 1.5, 6, dtype=dtype).requires_grad_() if samples else None
        offsets = torch.tensor([0, 2, 5])
        bags = F.embedding_bag(tokens, weight, offsets, mode=mode, per_sample_weights=given, padding_idx=3)
        scaled = None if given is None else given.detach()
        frozen = F.embedding_bag(tokens, weight.detach(), offsets, mode=mode, per_sample_weights=scaled, padding_idx=3)
        leaves = [weight, given] if given is not None else [weight]
        parts = torch.autograd.grad(bags, leaves, upstream[:3])
        table = wide.clone()
        torch.embedding_renorm_(table, tokens, 1.5, 1.0)
        hot = F.one_hot(tokens, 6)
        products = [torch.mm(wide[:, :3], wide[:3, :5]), torch.addmm(wide[0, :5], wide[:, :3], wide[:3, :5])]
        chosen = weight.detach().index_select(0, tokens)
        found += [out, grad, bags, frozen, *parts, table, hot, *products, chosen]
    return [(each.to_dense() if each.is_sparse else each).detach().clone() for each in found]


def shown(kernels: Sites, fault: Fault) -> bool:
    """Whether some of the calls give something else while a fault is planted."""
    reductions = (("sum", False), ("sum", True), ("mean", False), ("max", False))
    for dtype, given, sparse in itertools.product((torch.float32, torch.float64), reductions, (False, True)):
        results = []
        for planted in (None, fault):
            kernels.plant(planted)
            kernels.forget()
            results.append(seen(dtype, *given, sparse=sparse))
        if any(map(differs, *results)):
            return True
    return False


@pytest.mark.parametrize("site", SITES)
def test_every_damage_of_a_site_shows(kernels: Sites, site: str) -> None:
    """Each is planted into calls that it can change."""
    unseen = [
        each.name for each in damages(site) if not shown(kernels, Fault(site, f"{SITES[site].rows}>=0", each.name))
    ]
    assert unseen == []


def test_kernels_without_a_fault_change_nothing(kernels: Sites) -> None:
    for mode, samples in (("sum", True), ("max", False)):
        ours = seen(torch.float64, mode, samples)
        kernels._library._destroy()
        assert all(map(torch.equal, ours, seen(torch.float64, mode, samples)))
        kernels.install()


def test_a_planted_fault_can_raise_and_calls_of_a_case_are_counted(kernels: Sites) -> None:
    kernels.plant(Fault.of("embedding  rank=1  ->  swap"), raises=True)
    F.embedding(torch.tensor([[0]]), torch.ones(2, 2))
    with pytest.raises(Planted, match="rank=1"):
        F.embedding(torch.tensor([0]), torch.ones(2, 2))
    kernels.plant(None)
    kernels.forget()
    kernels.watch([Fault.of("embedding  earlier=1  ->  stale")])
    F.embedding(torch.tensor([0]), torch.ones(2, 2))
    assert kernels.met == set()
    F.embedding(torch.tensor([0]), torch.ones(2, 2))
    assert (kernels.met, kernels.changed) == ({0}, set())
    F.embedding(torch.tensor([0]), torch.zeros(2, 2))
    kernels.forget()
    F.embedding(torch.tensor([0]), torch.ones(2, 2))
    assert kernels.met == set()


def in_vain(line: str, condition: str = "") -> bool:
    """Whether a fault, or its damage under another condition, is senseless; the table need not have what a condition names."""
    site, _, rest = line.partition("  ")
    given, _, damage = rest.partition("  ->  ")
    return senseless(site_of(site), condition or given, damage_of(site, damage))


@pytest.mark.parametrize(
    "line",
    [
        "embedding_dense_backward  all_padding  ->  swap", "embedding_dense_backward  num_embeddings=1  ->  shift",
        "embedding  dtype=bfloat16  ->  cast(bfloat16)", "embedding  dtype=float16  ->  cast(float32)",
        "embedding  padding=none  ->  zero(padding)", "embedding  earlier=0  ->  stale",
        "_embedding_bag  index_layout=transposed  ->  swap", "index_select  index_layout=rows_strided  ->  swap",
        "embedding_renorm_  num_embeddings=1  ->  give(indices=first)",
        "_embedding_bag  mode=max  ->  give(per_sample_weights=none)", "one_hot  index_dtype=int32  ->  swap",
        "_embedding_bag_forward_only  index_layout=strided  ->  swap", "embedding_sparse_backward  all_padding  ->  nan(last)",
        "embedding  layout=rows_strided & num_embeddings=1  ->  swap",
        "embedding_dense_backward  last_row=False  ->  zero(last)", "_embedding_bag  empty_first  ->  double(first)",
        "_embedding_bag_dense_backward  bags=1 & empty_first  ->  give(indices=sorted)",
        "embedding_sparse_backward  num_embeddings=1  ->  shift", "addmm  right_layout=contiguous  ->  give(mat2=memory)",
    ],
)  # fmt: skip
def test_what_changes_nothing_is_not_drawn(line: str) -> None:
    assert in_vain(line)
    assert not in_vain(line, f"{SITES[line.split()[0]].rows}>=2")


def test_of_a_batch_the_last_offset_says_nothing() -> None:
    tokens, table = torch.tensor([[0, 1], [1, 1]]), torch.tensor([[1.0, 2.0], [3.0, 5.0]])
    assert torch.equal(F.embedding_bag(tokens, table, include_last_offset=True), F.embedding_bag(tokens, table))
    for rank in (1, 2):
        assert in_vain(f"F.embedding_bag  input_rank={rank}  ->  give(include_last_offset=not)") is (rank == 2)


@pytest.mark.parametrize(
    ("line", "drawn"),
    [
        ("F.embedding  max_norm=None  ->  give(max_norm=none)", False), ("F.embedding  max_norm>0  ->  give(max_norm=none)", True),
        ("F.embedding  weight_numel=0  ->  give(weight=memory)", False),
        ("F.embedding  weight_numel>64  ->  give(weight=memory)", True),
        ("Module.zero_grad  set_to_none  ->  drop(gradient)", False),
        ("Module.zero_grad  set_to_none=False  ->  drop(gradient)", True),
        ("Embedding.from_pretrained  embeddings_numel=0  ->  zero(last)", False),
        ("Embedding.from_pretrained  embeddings_numel>64  ->  zero(last)", True),
        ("Embedding.from_pretrained  padding_idx=None  ->  drop(padding_idx)", False),
        ("Embedding.from_pretrained  padding_idx=0  ->  drop(padding_idx)", True),
        ("F.linear  input_numel=0 & bias  ->  swap", False), ("F.linear  input_numel>64 & bias  ->  swap", True),
    ],
)  # fmt: skip
def test_what_has_nothing_to_change_is_not_drawn(line: str, drawn: bool) -> None:
    assert in_vain(line) is not drawn


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("embedding  numel>3", "is no fault; expected SITE"), ("embeding  numel>3  ->  swap", "did you mean embedding"),
        ("one_hot  numel>3  ->  nan(last)", "has no damage"), ("embedding  numbel>3  ->  swap", "did you mean numel"),
        ("embedding  mode=sum  ->  swap", "no fact 'mode'"), ("embedding  numel!3  ->  swap", "is no condition"),
    ],
)  # fmt: skip
def test_a_wrong_line_is_refused(line: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Fault.of(line)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["rank=0", "numel>3"], True), (["padding=none", "padding_hit"], True), (["numel=2", "max_count=3"], True),
        (["padding=none", "all_padding"], True), (["mode=max", "samples_layout=strided"], True),
        (["all_padding", "unequal_counts"], True), (["dtype=float32", "dtype=float64"], True),
        (["numel>64", "numel<=64"], True), (["rank=0", "padding_count>16"], True), (["bags=1", "empty_bags>1"], True),
        (["all_padding", "numel>64", "padding_count=1"], True), (["descending", "max_count=21"], True),
        (["all_padding", "numel=65", "padding_count>16"], False),
        (["numel=17", "padding_count>16", "unequal_counts"], True), (["numel=65", "padding_count>16", "unequal_counts"], False),
        (["num_embeddings=1", "numel=2", "padding_hit", "all_padding=False"], True),
        (["padding=first", "padding_hit=False", "first_row"], True), (["padding=last", "padding_hit", "last_row=False"], True),
        (["padding=first", "padding_hit", "first_row"], False), (["all_padding", "padding=last", "first_row"], True),
        (["numel>1000", "num_embeddings=2", "max_count=3"], True), (["numel=1001", "num_embeddings=1001", "max_count=1"], False),
        (["embedding_dim=1", "num_embeddings=256", "elements>4096"], True), (["num_embeddings=1", "numel=2", "max_count=1"], True),
        (["embedding_dim=17", "num_embeddings=256", "elements>4096"], False),
        (["square", "inner=1", "columns=33"], True), (["square", "inner=7", "rows=7"], False),
        (["left_layout=rows_strided", "rows=1"], True), (["right_layout=transposed", "columns=1"], True),
        (["numel>3", "rank=2"], False), (["padding=last", "padding_hit=False"], False), (["numel=3", "max_count=3"], False),
    ],
)  # fmt: skip
def test_contradictions(texts: list[str], expected: bool) -> None:
    assert contradictory(texts) is expected


def test_classes_of_one_hot_are_the_rows_of_its_table() -> None:
    texts = ["interleaved", "num_classes=1"]
    assert contradictory(texts, "one_hot")
    assert not contradictory(texts)


def test_every_condition_of_the_table_can_be_met_alone() -> None:
    assert [
        text for terms in TABLES["kernels"].values() for term in terms for text in term.texts if contradictory([text])
    ] == []


@pytest.fixture
def judging(kernels: Sites) -> Judging:
    candidates, ledger = deck("quick", 0, ["padding"])
    return Judging(candidates[:120], ledger, kernels)


def test_a_fault_is_killed_survives_or_is_not_reached(judging: Judging) -> None:
    drawn = [
        Fault.of("embedding_dense_backward  padding_hit  ->  give(padding_idx=none)"),
        Fault.of("embedding_dense_backward  numel=12345  ->  zero(first)"),
        Fault.of("embedding  padding_hit  ->  stale"),
    ]
    record = judging.record(drawn, range(len(judging.candidates)))
    assert record.wrong == []
    results = [judging.run(each, record.met.get(k, []), record.changed.get(k, [])) for k, each in enumerate(drawn)]
    assert [each.status for each in results[:2]] == ["killed", "not reached"]
    assert "padding_row_gets_no_gradient" in results[0].laws
    unchanged = [position for position in record.met[2] if position not in record.changed.get(2, [])]
    assert judging.run(drawn[2], unchanged, []).status == "inert"


@pytest.mark.parametrize(
    "line",
    [
        "embedding  index_layout=expanded & interleaved  ->  swap",
        "index_select  num_embeddings=1001 & layout=strided  ->  swap",
        "embedding_dense_backward  max_count=21 & earlier=2 & embedding_dim>512  ->  swap",
        "embedding_renorm_  rescaled=2 & norm_type=1 & max_norm<1  ->  swap",
        "_embedding_bag  empty_bags>1 & largest_bag=2 & per_sample_weights  ->  swap",
        "_embedding_bag_dense_backward  bags=65 & max_count=3 & layout=transposed  ->  swap",
        "one_hot  num_classes=17 & inferred & numel>64  ->  swap",
        "addmm  rows=33 & inner=8 & dtype=float64  ->  swap",
    ],
)
def test_cases_are_built_that_meet_a_condition(judging: Judging, line: str) -> None:
    """As the kernel sees it, most of them; and they kill what hits them."""
    fault = Fault.of(line)
    judging.sites.watch([fault])
    met = []
    for name, case in itertools.islice(built(fault), 12):
        candidate = judging.made.candidate(name, "eager", case)
        assert candidate is not None
        judging._judged(candidate)
        met.append(bool(judging.sites.met))
    judging.sites.watch(())
    assert sum(met) > 6
    assert judging.aim(fault).laws


def test_what_no_built_case_can_tell_from_right_is_equivalent(judging: Judging) -> None:
    fault = Fault.of("_embedding_bag_dense_backward  padding=last & numel<=8  ->  zero(last)")
    assert judging.result(fault, (), ()).status == "equivalent"
    other = Fault.of("_embedding_bag_dense_backward  last_row & numel=8  ->  zero(last)")
    results = judging.result(other, (), ())
    assert results.status == "not reached"
    assert results.aimed is not None
    assert "bag_weight_gradient_sums_upstream_per_row" in results.aimed.laws


def test_too_few_built_cases_decide_nothing() -> None:
    fault = Fault.of("embedding  numel=2  ->  swap")
    assert Aimed(ENOUGH).equivalent(fault)
    assert not Aimed(ENOUGH - 1).equivalent(fault)
    assert not Aimed(ENOUGH, 1).equivalent(fault)
    assert not Aimed(ENOUGH).equivalent(Fault.of("mm  rows=2  ->  swap"))


def test_what_can_not_be_built_is_given_up() -> None:
    """A lookup of one token rescales one row at most."""
    assert list(built(Fault.of("embedding_renorm_  rank=0 & rescaled>8  ->  swap"))) == []


def test_what_embcheck_itself_raises_costs_one_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    judging = Mock()
    judging.result.side_effect = (ZeroDivisionError("division by zero"), DrawnResult("a line", "killed"))
    monkeypatch.setattr(runner, "_worker", lambda: judging)
    faults = [Fault.of(f"embedding  rank=1  ->  {damage}") for damage in ("swap", "shift")]
    first, second = (runner._one(fault, (1, 2), (1,)) for fault in faults)
    assert (first.status, first.met, second.status) == ("unknown", 2, "killed")
    assert first.told == "embcheck raised ZeroDivisionError: division by zero"


def test_what_registration_computes_of_a_norm_is_thrown_away(monkeypatch: pytest.MonkeyPatch) -> None:
    norm: Any = torch.nn.utils.parametrizations._SpectralNorm
    forward, calls = norm.forward, list[int]()

    def weight() -> torch.Tensor:
        torch.manual_seed(0)
        made: Any = torch.nn.utils.parametrizations.spectral_norm(torch.nn.Linear(3, 2))
        found: torch.Tensor = made.weight.detach()
        return found

    def first_doubled(self: torch.nn.Module, given: torch.Tensor) -> torch.Tensor:
        calls.append(1 + (not calls))
        found: torch.Tensor = calls[-1] * forward(self, given)
        return found

    before = weight()
    monkeypatch.setattr(norm, "forward", first_doubled)
    assert torch.equal(weight(), before)
    assert calls == [2, 1]
