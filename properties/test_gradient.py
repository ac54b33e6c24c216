"""Gradient: dW = one_hot(i)ᵀ dY, however the derivative is taken."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import bound, oracle
from embcheck.arrival import as_if, often
from embcheck.case import Case
from embcheck.comparison import described, every, is_true, refuses, same, unwritten, within
from embcheck.law import Family
from embcheck.lookup import derivative, table
from embcheck.lookup.aim import aimed_gradient
from embcheck.lookup.entry import ENTRIES, REFUSALS, is_looked_up
from embcheck.lookup.past import past_cases
from embcheck.lookup.program import ROUTES, TIMES
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, UNASKED, Finding, Holds
from embcheck.space import Space


def scope() -> Iterator[Case]:
    plain = table.small_cases()
    flagged = (
        case
        for flags in ({"scale_grad_by_freq": True}, {"sparse": True}, {"route": "double_backward"})
        for case in table.small_cases(**flags)
    )
    shaped = (case for route in ROUTES for case in table.shape_cases(route=route))
    fixtures: tuple[dict[str, Any], ...] = ({}, {"sparse": True}, {"scale_grad_by_freq": True})
    sized = (case for fixed in fixtures for case in table.size_cases(**fixed))
    spelled = (case for entry in ENTRIES for case in table.shape_cases(entry=entry))
    later = (case.but(**fixed) for fixed in fixtures for case in past_cases())
    alike = (case for fixed in fixtures for case in table.coincident_cases(**fixed))
    every = itertools.chain(plain, flagged, shaped, spelled, later, alike, sized)
    return (case for case in map(derivative.canonical, every) if case)


gradient = Family(
    "gradient",
    Space(
        Case,
        derivative.AXES,
        derivative.canonical,
        scope,
        table.landmarks,
        flags=("route", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
        base={"shape": (2, 3)},
        draw=lambda draws: derivative.canonical(table.threshold_case(draws, derivative.AXES)),
        smaller=table.smaller_tables,
        aim=aimed_gradient,
        aims=3.0,
    ),
    derivative.plan,
    stride=2,
    call="table",
    refused=derivative.refused,
)


refused = derivative.refused


def has_weight_grad(case: Case) -> bool:
    return case.route != "forward_mode"


def on(*routes: str) -> Any:
    """The condition that a case takes one of these routes."""
    return lambda case: case.route in routes


def who_arrived(case: Case) -> Any:
    """Says of the first row that is wrong what it holds, and which token would explain that."""
    times = TIMES.get(case.route, 1)
    expected, limit = oracle.weight_gradient(case, times)

    def explain(actual: Any) -> str:
        with np.errstate(invalid="ignore"):
            wrong = np.flatnonzero(~((np.abs(actual - expected) <= limit) | (actual == expected)).all(axis=1))
            row = int(wrong[0]) if len(wrong) else 0
            departure = actual[row] - expected[row]
        whose = ", the padding row," if row == case.padding_row else ""
        text = f"dW[{row}]{whose} = {actual[row][:6]}, expected {expected[row][:6]}"
        if expected[row].any() and not actual[row].any():
            return f"{text}: nothing arrived"
        due = np.where((case.tokens == row) & case.counted, times, 0).tolist()
        found = as_if(departure, case.upstream_values / oracle.divisor(case)[row], due)
        if found is None:
            return text
        position, came = found
        token = int(case.tokens[position])
        own = "" if token == row else f", which is row {token},"
        return f"{text}: as if the gradient of token {position}{own} had arrived {often(came)}, not {often(due[position])}"

    return explain


@gradient.law(
    "dW = one_hot(i)ᵀ dY: each row's gradient is the sum of its tokens' upstream gradients.",
    source="nn.Embedding; scale_grad_by_freq; sparse",
    obliges={"empty", "last_row", "unequal_counts", "untouched_row", "numel>3072", "num_embeddings>2000", "max_count>2048",
             "embedding_dim>128", "index_dtype=int32", "scale_grad_by_freq", "sparse", "dtype=bfloat16", "dtype=float16",
             "dtype=float64", "rank>=4", "negative_padding", "all_padding"},
    when=has_weight_grad,
)  # fmt: skip
def weight_gradient_is_scattered(case: Case, out: Outcome) -> Finding:
    return within(out.weight_grad, *oracle.weight_gradient(case, TIMES.get(case.route, 1)), who_arrived(case))


@gradient.law(
    "Rows that were not looked up get exactly zero gradient.",
    obliges={"untouched_row"},
    when=has_weight_grad,
    implied_by="weight_gradient_is_scattered",
)
def untouched_rows_get_zero(case: Case, out: Outcome) -> Finding:
    return same(out.weight_grad[case.counts == 0], 0)


@gradient.law(
    "The gradient has the table's shape, dtype and device, and is sparse exactly when asked.",
    source="nn.Embedding: sparse",
    obliges={"sparse"},
    when=has_weight_grad,
    metadata=True,
)
def weight_gradient_has_kind(case: Case, out: Outcome) -> Finding:
    return described(
        out.weight_grad,
        shape=(case.num_embeddings, case.embedding_dim),
        dtype=case.dtype,
        device=out.leaf.plain("device"),
        is_sparse=case.sparse,
    )


def comes_twice(case: Case) -> bool:
    """Whether a sparse gradient has two entries for one row."""
    counted = case.tokens[case.counted]
    return case.sparse and len(counted) > len(np.unique(counted))


@gradient.law(
    "A sparse gradient in which a row comes twice does not say that it is coalesced.",
    source="torch.Tensor.is_coalesced",
    obliges={"repeated"},
    when=comes_twice,
)
def duplicates_are_not_called_coalesced(case: Case, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):  # of which another law speaks
        return UNASKED
    merged = out.weight_grad.meta("_nnz").raw < int(case.counted.sum())
    return HOLDS if merged else same(out.weight_grad.meta("is_coalesced"), False)


@gradient.law(
    "A sparse gradient has entries for whole rows, and says that it is coalesced only if its rows ascend, each once.",
    source="torch.sparse: coalesced tensors; embedding_sparse_backward",
    obliges={"repeated", "embedding_dim=1"},
    when=lambda case: case.sparse and not refused(case) and has_weight_grad(case),
)
def sparse_gradient_holds_rows(case: Case, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    rows = np.asarray(out.weight_grad.meta("_indices").raw)[0]
    ascending = bool((np.diff(rows) > 0).all())
    return every(
        described(out.weight_grad, sparse_dim=1, dense_dim=1),
        UNASKED if ascending else same(out.weight_grad.meta("is_coalesced"), False),
    )


@gradient.law(
    "A sparse gradient that is coalesced has each row once, ascending, with the sum of its entries.",
    source="torch.Tensor.coalesce",
    obliges={"repeated", "numel>1000", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: comes_twice(case) and not refused(case) and has_weight_grad(case),
)
def coalesced_gradients_have_each_row_once(case: Case, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    merged = out.weight_grad.meta("coalesce")
    return every(
        same(merged.meta("is_coalesced"), True),
        # Rows without columns may lack an entry: there is nothing in it.
        same(merged.meta("_indices"), np.unique(case.tokens[case.counted])[None]) if case.embedding_dim else UNASKED,
        within(merged, *oracle.weight_gradient(case, TIMES.get(case.route, 1))),
    )


@gradient.law(
    "A sparse gradient that is made dense has in each row the sum of its entries, however often a row comes.",
    source="torch.Tensor.to_dense",
    obliges={"repeated", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: comes_twice(case) and not refused(case) and has_weight_grad(case),
)
def dense_forms_sum_the_entries(case: Case, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    return within(out.weight_grad.meta("to_dense"), *oracle.weight_gradient(case, TIMES.get(case.route, 1)))


@gradient.law(
    "A dense gradient is row-major, in memory of its own.",
    source="Autograd mechanics, default gradient layouts; embedding_dense_backward: zeros",
    when=lambda case: not case.sparse and case.route == "autograd_grad" and not ENTRIES[case.entry].product,
)
def weight_gradient_is_contiguous(case: Case, out: Outcome) -> Finding:
    return every(
        same(out.weight_grad.meta("is_contiguous"), True),
        is_true(out.separate, "the gradient lies in the upstream gradient's memory"),
    )


@gradient.law(
    "Differentiating leaves the modes, the default dtype, the threads and the random numbers as they are.",
    source="no side effects",
    metadata=True,
)
def gradient_leaves_surroundings(case: Case, out: Outcome) -> Finding:
    return is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed")


@gradient.law("What an earlier call returned stays as it was.", source="no aliasing between calls", metadata=True)
def gradient_leaves_earlier_results(case: Case, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@gradient.law("The gradient in .grad is a leaf outside of any graph.", when=on("backward_call", "two_passes", "hooked"),
              metadata=True)  # fmt: skip
def weight_gradient_is_detached(case: Case, out: Outcome) -> Finding:
    return same(out.weight_grad.meta("requires_grad"), False)


@gradient.law(
    "autograd.grad leaves .grad alone.", source="torch.autograd.grad", when=on("autograd_grad"), metadata=True
)
def grad_is_left_alone(case: Case, out: Outcome) -> Finding:
    return same(out.grad_left_alone, True)


@gradient.law("A hook fires once and sees the gradient that passes.", when=on("hooked", "value_hooked"))
def hooks_fire_once(case: Case, out: Outcome) -> Finding:
    finding = same(out.hook_calls, 1)
    if isinstance(finding, Holds) and "hook_grad" in out:
        return same(out.hook_grad, case.upstream_values.reshape(*case.shape, case.embedding_dim))
    return finding


@gradient.law(
    "The value that is differentiated is W[i], on every route.",
    source="nn.Embedding: a simple lookup table",
    when=lambda case: not ENTRIES[case.entry].product,
    obliges={"route=anomaly", "route=forward_mode", "route=hooked", "route=create_graph"},
)
def differentiated_value_is_the_row(case: Case, out: Outcome) -> Finding:
    return is_looked_up(case, out.value) if "value" in out else UNASKED


@gradient.law(
    "The gradient of ⟨dW, R⟩ by dY is R[i], zero at padding: dW is linear in dY, be that a leaf or computed.",
    source="double backward by linearity",
    obliges={"repeated", "padding_hit"},
    when=on("double_backward"),
)
def double_backward_gathers(case: Case, out: Outcome) -> Finding:
    rows = case.weight_values / oracle.divisor(case)
    expected = np.where(case.counted[:, None], rows[case.tokens], 0.0)
    shape = (*case.shape, case.embedding_dim)
    divided = np.broadcast_to(oracle.divisor(case)[case.tokens] != 1, expected.shape)
    limit = np.where(divided, bound.gamma(3, case.format.unit_roundoff) * np.abs(expected), 0.0)
    expected, limit = expected.reshape(shape), limit.reshape(shape)
    return every(within(out.upstream_grad, expected, limit), within(out.computed_grad, expected, limit))


@gradient.law(
    "Forward mode: the tangent of W[i] is Ẇ[i], padding included, whether the table requires grad or not.",
    source="autograd note on padding_idx: forward mode is not masked",
    when=on("forward_mode"),
)
def tangent_is_the_tangents_row(case: Case, out: Outcome) -> Finding:
    rows = oracle.lookup(case)
    return every(same(out.tangent, rows), same(out.plain_tangent, rows))


@gradient.law(
    "Nothing is written: table, indices, upstream gradient and what lies around them.", source="no side effects"
)
def backward_writes_nothing(case: Case, out: Outcome) -> Finding:
    return unwritten(out)


@gradient.law(
    "A sparse gradient with scale_grad_by_freq is refused.",
    source="embedding_backward: scale_grad_by_freq not supported with sparse gradients",
    obliges={"sparse", "scale_grad_by_freq"},
    refusal=True,
    metadata=True,
)
def sparse_and_scaled_is_refused(case: Case, out: Outcome) -> Finding:
    kinds = (RuntimeError,) if ENTRIES[case.entry].own else REFUSALS
    return every(refuses(out, *kinds), unwritten(out))


test_scope, test_product, test_random = gradient.tests()
