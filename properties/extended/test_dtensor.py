"""A table in pieces, on several processes, is looked up and learns as in one piece."""

from embcheck.core.comparison import refuses, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.dtensor.cases import SPACE, DTensorCase, plan, unmade

family = Family(
    "dtensor",
    SPACE,
    plan,
    refused=lambda case: case.out_of_range is not None,
    cost=400.0,
    forks=True,
    stride=2,
    only_cpu="the ranks talk to each other by gloo",
    untaken=unmade,
)
law = family.law


@law(
    "A DTensor lookup returns the single-device result on every rank, for every placement.",
    source="torch.distributed.tensor: the semantics of a single device; F.embedding",
    must_cover={"several", "split", "rows_split", "tokens_split", "uneven", "use=projected", "made=parallelized",
             "made=fully_sharded"},
)  # fmt: skip
def dtensor_lookup_equals_single_device_lookup(case: DTensorCase, out: Outcome) -> Finding:
    renormed = case.facts()["renormed"]
    return within(out.value, case.used(case.left[case.tokens])[None].repeat(case.ranks, 0),
                  case.slack[case.tokens] if renormed else 0.0)  # fmt: skip


@law(
    "The weight gradient sums the upstream gradients of all ranks' indices, as on a single device.",
    source="the chain rule; nn.Embedding: padding_idx, scale_grad_by_freq (of the mini-batch)",
    must_cover={"several", "rows_split", "tokens_split", "use=projected", "made=tied_model"}
    | {"padding_hit", "scale_grad_by_freq", "repeated", "made=after_taller & table=columns"},
)
def sharded_gradient_is_the_global_sum(case: DTensorCase, out: Outcome) -> Finding:
    expected, bound = case.gradient
    return within(out.weight_grad, expected[None].repeat(case.ranks, 0), bound)


@law(
    "A DTensor lookup modifies only looked-up rows whose norm exceeds max_norm.",
    source="nn.Embedding: max_norm modifies the weight tensor in-place",
    must_cover={"several", "rows_split", "max_norm=64.0"},
)
def dtensor_lookup_modifies_only_rows_over_max_norm(case: DTensorCase, out: Outcome) -> Finding:
    return within(out.table, case.left[None].repeat(case.ranks, 0), case.slack)


@law(
    "Out-of-range indices raise IndexError, for every DTensor placement.",
    source="F.embedding: IndexError",
    refusal=True,
    must_cover={"several", "split", "out_of_range=V", "out_of_range=-1"},
)
def dtensor_out_of_range_indices_raise(case: DTensorCase, out: Outcome) -> Finding:
    return refuses(out, IndexError)


test_scope, test_product, test_random = family.tests()
