"""Gradient: dW = one_hot(i)ᵀ dY, however the derivative is taken."""

from functools import partial
from typing import Any

import numpy as np

from embcheck.core import bound, oracle
from embcheck.core.case import TYPICAL, LookupCase
from embcheck.core.comparison import described, every, is_true, left_alone, refuses, rows_shown, same, unwritten, within
from embcheck.core.format import FORMATS
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Finding
from embcheck.core.term_counts import as_if, often
from embcheck.core.weight_map import MATHEMATICS
from embcheck.families.gradient.routes import SPACE, plan, refused
from embcheck.families.lookup.programs import TIMES
from embcheck.families.lookup.spelling import ENTRIES, REFUSALS, is_looked_up

gradient = Family("gradient", SPACE, plan, stride=2, call="table", refused=refused, typical=TYPICAL)


def has_weight_grad(case: LookupCase) -> bool:
    return case.route != "forward_mode"


def on(*routes: str) -> Any:
    """The condition that a case takes one of these routes."""
    return lambda case: case.route in routes


def who_arrived(case: LookupCase, actual: Any) -> str:
    """Says of the first row that is wrong what it holds, and which token would explain that."""
    times = TIMES.get(case.route, 1)
    expected, limit = oracle.weight_gradient(case, times)
    with np.errstate(invalid="ignore"):
        agree = (np.abs(actual - expected) <= limit) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        wrong = np.flatnonzero(~agree.all(axis=1))
        row = int(wrong[0]) if len(wrong) else 0
        departure = actual[row] - expected[row]
    whose = ", the padding row," if row == case.padding_row else ""
    came_out, wanted, apart = rows_shown(actual[row], expected[row], agree[row])
    text = f"dW[{row}]{whose} = {came_out}, expected {wanted}{apart}"
    if expected[row].any() and not actual[row].any():
        return f"{text}: nothing arrived"
    if case.entry in MATHEMATICS:  # what each token sends depends on that
        sent = oracle.accumulate(case.tokens[case.counted], len(actual), case.upstream_values[case.counted])
        undeclared = times * sent[row] / oracle.divisor(case)[row]
        alone = np.array_equal(actual[row], undeclared)
        return f"{text}: the gradient without what is declared of the weight" if alone else text
    due = np.where((case.tokens == row) & case.counted, times, 0).tolist()
    found = as_if(departure, case.upstream_values / oracle.divisor(case)[row], due)
    if found is None:
        return text
    position, came = found
    token = int(case.tokens[position])
    own = "" if token == row else f", which is row {token},"
    sender = f"the token at position {position}{own}"
    return f"{text}: as if the gradient of {sender} had arrived {often(came)}, not {often(due[position])}"


@gradient.law(
    "dW = one_hot(i)ᵀ dY: each row's gradient is the sum of its tokens' upstream gradients.",
    source="nn.Embedding; scale_grad_by_freq; sparse",
    must_cover={"empty", "last_row", "unequal_counts", "untouched_row", "num_embeddings>2000", "max_count>2048",
             "num_embeddings>65536 & last_row",
             "numel>32768 & index_dtype=int32", "numel>32768 & sparse", "numel>32768 & scale_grad_by_freq",
             "numel>32768 & padding_hit", "embedding_dim>128", "dtype=bfloat16", "dtype=float16",
             "dtype=float64", "rank>=4", "negative_padding", "all_padding",
             "upstream_layout=expanded & embedding_dim>32 & repeated", "upstream_layout=equal_rows & embedding_dim>32 & repeated",
             "upstream_layout=equal_columns & embedding_dim>32 & repeated", "upstream_layout=expanded & numel>1000",
             "upstream_layout=equal_in_sequence"},
    when=has_weight_grad,
)  # fmt: skip
def weight_gradient_sums_upstream_per_row(case: LookupCase, out: Outcome) -> Finding:
    expected, words = oracle.weight_gradient(case, TIMES.get(case.route, 1)), partial(who_arrived, case)
    return every(
        *(within(grad, *expected, words) for grad in [out.weight_grad, *out.along_first_axis("other_weight_grad")])
    )


@gradient.law(
    "Rows that were not looked up get exactly zero gradient.",
    source="dW = one_hot(i)ᵀ dY: a row that no token names has no term",
    must_cover={"untouched_row"},
    when=has_weight_grad,
    implied_by="weight_gradient_sums_upstream_per_row",
)
def rows_not_looked_up_get_zero_gradient(case: LookupCase, out: Outcome) -> Finding:
    return same(out.weight_grad[case.counts == 0], 0)


@gradient.law(
    "The gradient has the weight's shape, dtype and device, and is sparse exactly when sparse=True.",
    source="nn.Embedding: sparse",
    must_cover={"sparse"},
    when=has_weight_grad,
    of="metadata",
)
def weight_gradient_has_weight_metadata(case: LookupCase, out: Outcome) -> Finding:
    return described(
        out.weight_grad,
        shape=(case.num_embeddings, case.embedding_dim),
        dtype=case.dtype,
        device=out.leaf.plain("device"),
        is_sparse=case.sparse,
    )


def comes_twice(case: LookupCase) -> bool:
    """Whether a sparse gradient has two entries for one row."""
    counted = case.tokens[case.counted]
    return case.sparse and len(counted) > len(np.unique(counted))


@gradient.law(
    "A sparse gradient with duplicate row indices reports is_coalesced() as False.",
    source="torch.Tensor.is_coalesced",
    must_cover={"repeated"},
    when=comes_twice,
)
def duplicate_gradient_rows_are_not_coalesced(case: LookupCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):  # of which another law speaks
        return UNASKED
    merged = out.weight_grad.meta("_nnz").raw < int(case.counted.sum())
    return HOLDS if merged else same(out.weight_grad.meta("is_coalesced"), False)


@gradient.law(
    "A sparse gradient stores whole rows, and reports is_coalesced() only if its row indices strictly ascend.",
    source="torch.sparse: hybrid sparse COO tensors; coalesced tensors",
    must_cover={"repeated", "embedding_dim=1"},
    when=lambda case: case.sparse and not refused(case) and has_weight_grad(case),
)
def sparse_gradient_stores_whole_rows(case: LookupCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    rows = out.weight_grad.meta("_indices").values[0]
    ascending = bool((np.diff(rows) > 0).all())
    return every(
        described(out.weight_grad, sparse_dim=1, dense_dim=1),
        UNASKED if ascending else same(out.weight_grad.meta("is_coalesced"), False),
    )


@gradient.law(
    "coalesce() gives each row once, in ascending order, with the sum of its entries.",
    source="torch.Tensor.coalesce",
    must_cover={"repeated", "numel>1000", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: comes_twice(case) and not refused(case) and has_weight_grad(case),
)
def coalesce_sums_duplicate_gradient_rows(case: LookupCase, out: Outcome) -> Finding:
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
    "to_dense(), rows, quotients and differences of a sparse gradient sum all entries of each row.",
    source="torch.Tensor.to_dense, select, index_select, div, sub: a sparse tensor has the sum of its entries; torch.sparse",
    must_cover={"repeated", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: comes_twice(case) and not refused(case) and has_weight_grad(case),
)
def to_dense_sums_duplicate_gradient_rows(case: LookupCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    grad, (value, error) = out.weight_grad, oracle.weight_gradient(case, TIMES.get(case.route, 1))
    (row, *_), rows = case.tokens[case.counted], grad.meta("_indices").values[0][:3].astype(int)
    subtracted: Finding = UNASKED
    if case.dtype in ("float32", "float64"):  # of half precision torch.sparse has no such difference
        subtracted = within(grad.derived("{}.new_zeros({}.shape).to_dense().sub_({})"), -value, error)
    return every(
        within(grad.meta("to_dense"), value, error),
        within(grad.derived(f"{{}}[{row}].to_dense()"), value[row], error[row]),
        within(grad.derived("{}.index_select(0, {}._indices()[0][:3]).to_dense()"), value[rows], error[rows]),
        within(grad.derived("{}.clone().div_(-1).to_dense()"), -value, error),
        subtracted,
    )


@gradient.law(
    "norm() of a sparse gradient adds the entries of each row before it squares them.",
    source="torch.Tensor.norm; Jeannerod and Rump 2013: σ of n squares, whose sum is a float32 in half precision",
    must_cover={"repeated", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: comes_twice(case) and case.upstream in ("code", "ones", "real") and not refused(case)
    and has_weight_grad(case),
)  # fmt: skip
def norm_adds_duplicate_gradient_rows(case: LookupCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse") or out.mode not in gradient.modes:
        return UNASKED
    value, error = oracle.weight_gradient(case, TIMES.get(case.route, 1))
    norm, summed = np.linalg.norm(value), min(case.format.unit_roundoff, FORMATS["float32"].unit_roundoff)
    rounding = bound.scaled_sum(value.size + 2, summed) + 2 * case.format.unit_roundoff
    return within(out.weight_grad.meta("norm"), np.asarray(norm), norm * rounding + np.linalg.norm(error))


@gradient.law(
    "A dense gradient is contiguous and shares no memory with the upstream gradient.",
    source="Autograd mechanics: default gradient layouts",
    when=lambda case: not case.sparse and case.route == "autograd_grad" and not ENTRIES[case.entry].product,
)
def dense_weight_gradient_is_contiguous(case: LookupCase, out: Outcome) -> Finding:
    return every(
        same(out.weight_grad.meta("is_contiguous"), True),
        is_true(out.separate, "the gradient lies in the upstream gradient's memory"),
    )


@gradient.law(
    "Computing the gradient changes neither grad mode, default dtype, threads, deterministic mode nor generator state.",
    source="no side effects",
    of="metadata",
)
def gradient_preserves_global_state(case: LookupCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@gradient.law(
    "Computing the gradient does not overwrite the output or gradient of an earlier call.",
    source="no aliasing between calls",
    must_cover={"history=gradient_held & elements>4096"},
    of="metadata",
)
def gradient_preserves_earlier_results(case: LookupCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@gradient.law(
    "After backward, weight.grad does not require grad.",
    source="torch.Tensor.backward: create_graph is False by default",
    when=on("backward_call", "two_passes", "hooked"),
    of="metadata",
)
def weight_grad_does_not_require_grad(case: LookupCase, out: Outcome) -> Finding:
    return same(out.weight_grad.meta("requires_grad"), False)


@gradient.law(
    "torch.autograd.grad does not write to weight.grad.",
    source="torch.autograd.grad",
    when=on("autograd_grad"),
    of="metadata",
)
def autograd_grad_does_not_set_weight_grad(case: LookupCase, out: Outcome) -> Finding:
    return same(out.grad_left_alone, True)


@gradient.law(
    "A tensor hook fires once per backward pass; on the output, it receives the upstream gradient.",
    source="torch.Tensor.register_hook: called every time a gradient with respect to the Tensor is computed",
    when=on("hooked", "value_hooked"),
)
def tensor_hooks_fire_once(case: LookupCase, out: Outcome) -> Finding:
    sent = case.upstream_values.reshape(*case.shape, case.embedding_dim)
    return every(same(out.hook_calls, 1), same(out.hook_grad, sent) if "hook_grad" in out else UNASKED)


@gradient.law(
    "The output that is differentiated equals W[i], by every way to take the gradient.",
    source="nn.Embedding: a simple lookup table",
    when=lambda case: not ENTRIES[case.entry].product,
    must_cover={"route=anomaly", "route=forward_mode", "route=hooked", "route=create_graph"},
)
def differentiated_lookup_returns_rows(case: LookupCase, out: Outcome) -> Finding:
    if "value" not in out:
        return UNASKED
    return every(*(is_looked_up(case, value) for value in [out.value, *out.along_first_axis("other_values")]))


@gradient.law(
    "Double backward: the gradient of ⟨dW, R⟩ with respect to dY is R[i], zero at padding_idx.",
    source="dW = one_hot(i)ᵀ dY is linear in dY",
    must_cover={"repeated", "padding_hit"},
    when=on("double_backward"),
)
def double_backward_looks_up_rows(case: LookupCase, out: Outcome) -> Finding:
    rows = case.weight_values / oracle.divisor(case)
    expected = np.where(case.counted[:, None], rows[case.tokens], 0.0)
    shape = (*case.shape, case.embedding_dim)
    divided = np.broadcast_to(oracle.divisor(case)[case.tokens] != 1, expected.shape)
    limit = np.where(divided, bound.gamma(3, case.format.unit_roundoff) * np.abs(expected), 0.0)
    expected, limit = expected.reshape(shape), limit.reshape(shape)
    return every(within(out.upstream_grad, expected, limit), within(out.computed_grad, expected, limit))


@gradient.law(
    "Forward-mode AD returns Ẇ[i] as the tangent of W[i], including at padding_idx.",
    source="torch.autograd.forward_ad: Jacobian-vector product; W[i] is linear in W",
    when=on("forward_mode"),
    must_cover={f"layout={layout} & num_embeddings>1 & embedding_dim>1" for layout in ("contiguous", "transposed")},
)
def forward_mode_looks_up_tangent_rows(case: LookupCase, out: Outcome) -> Finding:
    rows = oracle.lookup(case)
    return every(same(out.tangent, rows), same(out.plain_tangent, rows))


@gradient.law(
    "Backward modifies neither weight, indices nor upstream gradient, nor the memory around them.",
    source="no side effects",
    of="memory",
)
def backward_modifies_no_input(case: LookupCase, out: Outcome) -> Finding:
    return unwritten(out)


@gradient.law(
    "Backward raises when sparse=True and scale_grad_by_freq=True are combined.",
    source="embedding_backward: scale_grad_by_freq not supported with sparse gradients",
    must_cover={"sparse", "scale_grad_by_freq"},
    refusal=True,
    of="metadata",
)
def sparse_with_scale_grad_by_freq_raises(case: LookupCase, out: Outcome) -> Finding:
    kinds = (RuntimeError,) if ENTRIES[case.entry].own else REFUSALS
    return every(refuses(out, *kinds), unwritten(out))


test_scope, test_product, test_random = gradient.tests()
