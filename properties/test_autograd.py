"""Autograd: however it is driven, accumulating, hooked, checkpointed, threaded, dW = one_hot(i)ᵀ dY."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import oracle
from embcheck.case import Case
from embcheck.comparison import described, every, identical, is_true, same, unwritten, within
from embcheck.law import Family, Plan
from embcheck.lookup import derivative, hooking, packing, passage, table, widening
from embcheck.lookup.dropping import DROPPING
from embcheck.lookup.entry import ENTRIES
from embcheck.lookup.route import FURTHER, FURTHER_TIMES
from embcheck.mathematics import MATHEMATICS
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding, Holds
from embcheck.space import Space

assert {"frozen", "table_hooks", "saved_packed", "widened"} <= set(FURTHER), (passage, hooking, packing, widening)
#: Routes that leave no gradient, for they speak of a refusal.
WITHOUT_GRADIENT = frozenset({"indices_mutated", "frozen", "upstream_of_another_shape", "inference_value", "anomalous"})
#: Routes whose gradient is dense even for a sparse lookup: it was added to something dense.
DENSE = frozenset({"preset_zeros", "preset_transposed", "preset_strided", "preset_bucket", "token_by_token", "then_dense",
                   "dense_first", "dense_beside"})  # fmt: skip
#: Routes that sum in two ways, which agree where every sum is exact: within the budget, for these upstream gradients.
SUMMED: dict[str, tuple[str, ...]] = {"reduced_on_the_way": ("code", "tiny", "huge"), "widened": ("code",)}
#: Routes that look up a part of the tokens at a time.
PARTIAL = frozenset({"micro_batches", "parts_are_merged", "token_by_token"})


def plan(case: Case) -> Plan:
    return derivative.plan(case, FURTHER)


def canonical(case: Case) -> Case | None:
    """The case with its route made to fit the rest."""
    entry = ENTRIES[case.entry]
    changes: dict[str, Any] = {}
    if case.route in ("micro_batches", "parts_are_merged") and not case.shape:
        changes["route"] = "token_by_token"
    if case.route in PARTIAL:
        changes["scale_grad_by_freq"] = False  # each part has counts of its own
    if (
        case.route == "token_by_token"
        and (case.numel > 32 or case.numel * case.num_embeddings * case.embedding_dim > 4096)
    ) or (case.route == "in_parts" and not 0 < case.embedding_dim < 65):
        changes["route"] = "through_view"
    if case.route in SUMMED:
        changes["upstream"] = case.upstream if case.upstream in SUMMED[case.route] else "code"
    if case.route == "per_sample":
        # A module's parameter, and an axis of samples; a sample has counts of its own, so that counts have one sample.
        changes |= {"sparse": False, "history": "fresh"}
        changes |= {} if entry.module else {"entry": "module"}
        changes |= {} if len(case.shape) > 1 and not case.scale_grad_by_freq else {"shape": (1, case.numel)}
        if not case.numel or not case.num_embeddings:
            changes["route"] = "through_view"
    if case.route in DROPPING:
        changes |= {"upstream": "code", "scale_grad_by_freq": False}
        changes |= {"entry": "functional"} if case.entry in MATHEMATICS else {}
    if case.route in ("checkpointed_with_two", "leaf_listed_twice"):
        changes["sparse"] = False  # not every dtype can add sparse gradients, and none has a second derivative
    if (case.route in ("through_double", "checkpointed_with_two") and entry.module) or (
        case.route == "indices_mutated" and entry.product
    ):
        changes["entry"] = "functional"
    if case.sparse and case.scale_grad_by_freq:
        changes["sparse"] = False
    fitted = derivative.canonical(case.but(**changes))
    if fitted and fitted.route in SUMMED and fitted.max_count > fitted.format.largest_integer >> 2:
        return fitted.but(route="through_view")
    if fitted and fitted.route in SUMMED and fitted.scale_grad_by_freq and (fitted.counts & (fitted.counts - 1)).any():
        return fitted.but(scale_grad_by_freq=False)  # thirds are rounded
    return fitted


def scope() -> Iterator[Case]:
    """Every route with every shape, and with every choice of flags, dtype and entry."""
    for route in FURTHER:
        for case in table.shape_cases(route=route):
            yield from filter(None, [canonical(case)])
    flags: tuple[dict[str, Any], ...] = ({}, {"sparse": True}, {"scale_grad_by_freq": True})
    for position, route in enumerate(FURTHER):
        for turn, entry in enumerate(ENTRIES):
            for fixed in flags:
                dtype = AXES["dtype"][(position + turn) % 4]
                padding = (None, 0, -1)[turn % 3]
                case = Case(3, 2, "uniform", (4,), padding, entry=entry, route=route, dtype=dtype, seed=turn, **fixed)
                yield from filter(None, [canonical(case)])


def landmarks() -> Iterator[Case]:
    """Routes in turn at sizes beyond the thresholds of ATen's kernels; each once with a sparse gradient of distinct rows."""
    for position, case in enumerate(itertools.islice(table.landmarks(), 0, None, 4)):
        for turn in range(2):
            yield case.but(route=AXES["route"][(7 * turn + position) % len(FURTHER)])
    yield Case(3, 2, "uniform", (4,), route="anomalous", sparse=True)
    yield Case(3, 2, "uniform", (4,), route="anomalous", scale_grad_by_freq=True)
    for route in FURTHER:
        # Both halves of the tokens have as many rows, and no row is in both.
        yield from filter(None, [canonical(Case(6, 2, "cycle", (4,), route=route, sparse=True))])


AXES = derivative.AXES | {
    "indices": ("cycle", "same", "padding", "uniform", "unequal", "late_padding", "ends", "descending"),
    "shape": ((3,), (), (4,), (0,), (2, 3), (2, 2, 2), (2, 0)),
    "route": tuple(FURTHER),
    "history": ("fresh", "repeated", "after_backward"),
}

autograd = Family(
    "autograd",
    Space(
        Case,
        AXES,
        canonical,
        scope,
        landmarks,
        flags=("route", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
        base={"shape": (2, 3), "indices": "uniform"},
        draw=lambda draws: canonical(table.threshold_case(draws, AXES)),
        smaller=table.smaller_tables,
        strength=2,
    ),
    plan,
    cost=6.0,
    stride=16,
)


def has_gradient(case: Case) -> bool:
    return case.route not in WITHOUT_GRADIENT


@autograd.law(
    "However autograd is driven, each row's gradient is the sum of its tokens' upstream gradients.",
    source="Autograd mechanics; torch.Tensor.backward; torch.utils.checkpoint; torch.autograd.graph",
    obliges={"repeated", "padding_hit", "sparse", "scale_grad_by_freq", "dtype=bfloat16", "dtype=float16", "empty", "rank>=3",
             "index_dtype=int32", "numel>3072"},
    when=lambda case: has_gradient(case) and case.route not in DROPPING,
)  # fmt: skip
def driven_gradient_is_scattered(case: Case, out: Outcome) -> Finding:
    return within(out.weight_grad, *oracle.weight_gradient(case, FURTHER_TIMES.get(case.route, 1)))


@autograd.law(
    "What a checkpointed forward pass drops at random is dropped in the backward pass too, which leaves the generator alone.",
    source="torch.utils.checkpoint: preserve_rng_state",
    when=lambda case: case.route in DROPPING,
    obliges={"repeated", "padding_hit", "sparse"},
)
def dropped_elements_get_no_gradient(case: Case, out: Outcome) -> Finding:
    mask = np.asarray(out.mask.values, np.float64).reshape(case.numel, case.embedding_dim)
    kept = case.counted
    due = oracle.accumulate(case.tokens[kept], case.num_embeddings, (case.upstream_values * mask)[kept])
    return same(out.weight_grad, due)


@autograd.law(
    "The gradient has the table's shape, dtype and device; it is sparse exactly when asked and added to nothing dense.",
    source="nn.Embedding: sparse; AccumulateGrad",
    obliges={"sparse"},
    when=has_gradient,
)
def driven_gradient_has_kind(case: Case, out: Outcome) -> Finding:
    return described(
        out.weight_grad,
        shape=(case.num_embeddings, case.embedding_dim),
        dtype=case.dtype,
        device=out.leaf.plain("device"),
        is_sparse=case.sparse and case.route not in DENSE,
    )


@autograd.law(
    "What was there stays: a preset .grad is added to in place, other leaves and graphs are left alone, hooks come in order.",
    source="Autograd mechanics: default gradient layouts; torch.Tensor.backward: inputs",
)
def driven_passes_keep_what_was(case: Case, out: Outcome) -> Finding:
    found = [is_true(out.kept, "something was replaced, touched or called out of order")] if "kept" in out else []
    if "around_kept" in out:
        found.append(is_true(out.around_kept, "the memory around the preset gradient was written"))
    return every(*found)


@autograd.law(
    "A hook fires once and sees the upstream gradient.",
    source="torch.Tensor.register_hook and its like",
    obliges={"route=retained_grads"},
)
def driven_hooks_fire_once(case: Case, out: Outcome) -> Finding:
    if "hook_calls" not in out:
        return UNASKED
    finding = same(out.hook_calls, 1)
    if isinstance(finding, Holds) and "hook_grad" in out:
        return same(out.hook_grad, case.upstream_values.reshape(*case.shape, case.embedding_dim))
    return finding


@autograd.law("The value that is differentiated is W[i].", source="nn.Embedding")
def driven_value_is_the_row(case: Case, out: Outcome) -> Finding:
    if "value" not in out or ENTRIES[case.entry].product:
        return UNASKED
    return identical(out.value, oracle.lookup_bits(case))


@autograd.law(
    "Autograd refuses a graph that was freed, indices that were changed, a frozen or inferred value, and an upstream "
    "gradient of another shape.",
    source="Autograd mechanics: in-place correctness checks; torch.Tensor.backward: retain_graph",
    obliges={"route=graph_freed"},
)
def driven_mistakes_are_refused(case: Case, out: Outcome) -> Finding:
    return is_true(out.refused, "backward did not raise, or left a gradient") if "refused" in out else UNASKED


@autograd.law(
    "In anomaly mode a backward pass that makes a NaN raises.",
    source="torch.autograd.detect_anomaly: check_nan",
    when=lambda case: case.route == "anomalous" and bool(case.counted.any()) and case.embedding_dim > 0,
    obliges={"sparse", "scale_grad_by_freq"},
)
def anomaly_mode_sees_nan(case: Case, out: Outcome) -> Finding:
    return is_true(out.alarmed, "the gradient is NaN, and nothing was raised")


@autograd.law(
    "Nothing is written: table, indices, upstream gradient and what lies around them; and no mode is left changed.",
    source="no side effects",
)
def driven_passes_write_nothing(case: Case, out: Outcome) -> Finding:
    return every(
        unwritten(out),
        is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed"),
    )


test_scope, test_product, test_random = autograd.tests()
