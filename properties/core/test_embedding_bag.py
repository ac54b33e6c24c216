"""Bag: the gradients of a table and of per_sample_weights, and derivatives of other kinds.

The values of bags have laws of their own, in the file beside this one.
"""

from typing import Any

import numpy as np

from embcheck.core.comparison import described, every, same, within
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding
from embcheck.families.embedding_bag import oracle as bag_oracle
from embcheck.families.embedding_bag.cases import BagCase
from embcheck.families.embedding_bag.kernel_paths import derived, late_nan
from embcheck.families.embedding_bag.routes import BAG_TIMES

from .test_embedding_bag_values import embedding_bag, is_maximum, part

#: All modes that make a graph.
GRAPH = ("graph",)


def times(case: BagCase) -> int:
    return BAG_TIMES.get(case.route, 1)


def table_learns(case: BagCase) -> bool:
    return derived(case) and case.learns in ("table", "both")


def samples_learn(case: BagCase) -> bool:
    return derived(case) and case.learns in ("weights", "both")


def near_the_end(case: BagCase) -> Any:
    """Which rows the last bag or the tokens behind it hold, shape ``(num_embeddings,)``."""
    marked = np.zeros(case.num_embeddings, np.bool_)
    if case.trailing:
        last = int(case.lengths[-1]) if len(case.lengths) else 0
        marked[case.tokens[case.numel - last :]] = True
    return marked


def are_gradients(case: BagCase, out: Outcome) -> Finding:
    """The gradient, and of several calls those that gave another than the first, within the bounds of what is expected;
    of tokens behind the last offset another law speaks."""
    expected = bag_oracle.table_gradient(case, times(case))
    if case.trailing:
        rows = ~near_the_end(case)
        return within(out.weight_grad[rows], *part(expected, rows))
    return every(*(within(grad, *expected) for grad in [out.weight_grad, *out.along_first_axis("other_weight_grad")]))


@embedding_bag.law(
    "Dense gradients of weight and per_sample_weights from torch.autograd.grad are contiguous.",
    source="Autograd mechanics; _embedding_bag_dense_backward: zeros; _embedding_bag_per_sample_weights_backward",
    when=lambda case: case.route == "autograd_grad" and (table_learns(case) or samples_learn(case)),
    modes=GRAPH,
    of="metadata",
)
def bag_dense_gradients_are_contiguous(case: BagCase, out: Outcome) -> Finding:
    return every(
        described(out.weight_grad, is_contiguous=True) if table_learns(case) and not case.sparse else UNASKED,
        described(out.sample_grad, is_contiguous=True) if samples_learn(case) else UNASKED,
    )


@embedding_bag.law(
    "For sum and mean, each row's gradient sums its tokens' upstream gradients times their factors in the forward pass.",
    source="nn.EmbeddingBag: scale_grad_by_freq, sparse, padding_idx, per_sample_weights",
    must_cover={"mode=sum", "mode=mean", "scale_grad_by_freq", "sparse", "empty_bag", "padding_bag", "padding_hit", "weighted",
             "negative_padding", "repeated", "untouched_row", "unequal_lengths", "numel>1000", "embedding_dim>64",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "learns=both",
             "upstream_layout=expanded & embedding_dim>32 & repeated", "upstream_layout=equal_rows & embedding_dim>32 & repeated"},
    when=lambda case: table_learns(case) and not is_maximum(case),
    modes=GRAPH,
)  # fmt: skip
def bag_weight_gradient_sums_upstream_per_row(case: BagCase, out: Outcome) -> Finding:
    return are_gradients(case, out)


@embedding_bag.law(
    "A sparse gradient reports is_coalesced() only if its row indices strictly ascend.",
    source="torch.sparse: coalesced tensors; nn.EmbeddingBag: sparse",
    must_cover={"repeated", "route=autograd_grad"},
    when=lambda case: case.sparse and table_learns(case) and case.mode != "max",
    modes=GRAPH,
)
def bag_duplicate_gradient_rows_are_not_coalesced(case: BagCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):
        return UNASKED
    rows = out.weight_grad.meta("_indices").values[0]
    return HOLDS if (np.diff(rows) > 0).all() else same(out.weight_grad.meta("is_coalesced"), False)


@embedding_bag.law(
    "In max mode, each column's upstream gradient goes to the row that holds the maximum.",
    source="nn.EmbeddingBag: mode; ties between rows are left open",
    must_cover={
        "empty_bag",
        "padding_bag",
        "repeated",
        "untouched_row",
        "numel>1000",
        "dtype=float16",
        "dtype=bfloat16",
    },
    when=lambda case: table_learns(case) and is_maximum(case),
    modes=GRAPH,
)
def bag_max_gradient_goes_to_maximum_row(case: BagCase, out: Outcome) -> Finding:
    return are_gradients(case, out)


@embedding_bag.law(
    "In max mode, even if rows tie, the weight gradient's column sums equal those of the upstream gradient.",
    source="nn.EmbeddingBag: mode; a subgradient of max is a convex combination",
    must_cover={"tied_maximum"},
    when=lambda case: table_learns(case) and is_maximum(case) and not case.trailing and case.values != "special",
    modes=GRAPH,
)
def bag_max_gradient_conserves_upstream_sum(case: BagCase, out: Outcome) -> Finding:
    total, limit = bag_oracle.column_sums(case, times(case))
    got, bound = out.weight_grad.values.sum(0), limit
    wrong = np.abs(got - total) > bound
    if not wrong.any():
        return HOLDS
    k = int(np.flatnonzero(wrong)[0])
    words = f"column {k} of the gradient sums to {float(got[k])}, the bags' gradients to {float(total[k])}"
    return Difference(
        "sum", f"{out.weight_grad.place}[:, {k}].double().sum()", float(got[k]), float(total[k]), words, float(bound[k])
    )


@embedding_bag.law(
    "Indices after the last offset add nothing to the weight gradient and do not change the last bag's gradient.",
    source="nn.EmbeddingBag: include_last_offset: the ending index position of the last bag",
    must_cover={"trailed", "sparse"},
    when=lambda case: table_learns(case) and case.trailing > 0,
    modes=GRAPH,
)
def indices_after_last_offset_get_no_gradient(case: BagCase, out: Outcome) -> Finding:
    rows = near_the_end(case)
    return within(out.weight_grad[rows], *part(bag_oracle.table_gradient(case, times(case)), rows))


@embedding_bag.law(
    "The padding row and rows in no bag get exactly zero gradient.",
    source="nn.EmbeddingBag: padding_idx",
    must_cover={"padding_hit", "untouched_row"},
    when=table_learns,
    modes=GRAPH,
)
def bag_padding_and_unused_rows_get_zero_gradient(case: BagCase, out: Outcome) -> Finding:
    idle = (case.counts == 0) & ~near_the_end(case)
    if case.lookup.padding_row is not None and case.num_embeddings:
        idle[case.lookup.padding_row] = True
    return same(out.weight_grad[idle], 0)


@embedding_bag.law(
    "The gradient of per_sample_weights is ⟨dY, W[i]⟩ for each token, and 0 for padding tokens.",
    source="nn.EmbeddingBag: per_sample_weights",
    must_cover={
        "padding_hit",
        "weights=zero",
        "learns=weights",
        "learns=both",
        "sparse",
        "dtype=float16",
        "dtype=bfloat16",
    },
    when=samples_learn,
    modes=GRAPH,
)
def per_sample_weights_gradient_is_row_dot_upstream(case: BagCase, out: Outcome) -> Finding:
    value, limit = bag_oracle.sample_gradient(case, times(case))
    if case.trailing:
        return within(out.sample_grad[: case.numel], value[: case.numel], limit[: case.numel])
    expected = value.reshape(case.tokens_shape), limit.reshape(case.tokens_shape)
    return every(*(within(grad, *expected) for grad in [out.sample_grad, *out.along_first_axis("other_sample_grad")]))


@embedding_bag.law(
    "per_sample_weights of indices after the last offset get exactly zero gradient.",
    source="nn.EmbeddingBag: include_last_offset, per_sample_weights",
    must_cover={"trailed"},
    when=lambda case: samples_learn(case) and case.trailing > 0,
    modes=GRAPH,
)
def per_sample_weights_after_last_offset_get_no_gradient(case: BagCase, out: Outcome) -> Finding:
    return same(out.sample_grad[case.numel :], 0)


@embedding_bag.law(
    "Each gradient has its input's shape and dtype, and the weight's is sparse exactly when sparse=True.",
    source="nn.EmbeddingBag: sparse; autograd mechanics",
    must_cover={"sparse", "learns=weights", "learns=both"},
    when=lambda case: case.route not in ("value", "forward_mode"),
    modes=GRAPH,
    of="metadata",
)
def bag_gradients_have_input_metadata(case: BagCase, out: Outcome) -> Finding:
    shape = (case.num_embeddings, case.embedding_dim)
    return every(
        described(out.weight_grad, shape=shape, dtype=case.dtype, is_sparse=case.sparse)
        if table_learns(case)
        else same(out.weight_grad, None),
        described(out.sample_grad, shape=case.tokens_shape, dtype=case.dtype, is_sparse=False)
        if samples_learn(case)
        else same(out.sample_grad, None),
    )


@embedding_bag.law("torch.autograd.grad does not write to .grad.", source="torch.autograd.grad", modes=GRAPH,
         when=lambda case: case.route == "autograd_grad")  # fmt: skip
def bag_autograd_grad_does_not_set_grad(case: BagCase, out: Outcome) -> Finding:
    return same(out.grad_left_alone, True)


@embedding_bag.law("Each registered tensor hook fires once per backward pass.", source="torch.Tensor.register_hook", modes=GRAPH,
         when=lambda case: case.route in ("hooked", "value_hooked"))  # fmt: skip
def bag_tensor_hooks_fire_once(case: BagCase, out: Outcome) -> Finding:
    return same(out.hook_calls, 2 if case.learns == "both" and case.route == "hooked" else 1)


@embedding_bag.law("A hook on the output receives the upstream gradient.", source="torch.Tensor.register_hook", modes=GRAPH,
         when=lambda case: case.route == "value_hooked")  # fmt: skip
def bag_output_hook_receives_upstream_gradient(case: BagCase, out: Outcome) -> Finding:
    return same(out.hook_grad, case.upstream_values)


@embedding_bag.law("Under torch.vmap each sample has the value of a separate call.", source="torch.vmap", modes=GRAPH,
         when=lambda case: case.route == "batched" and not case.trailing)  # fmt: skip
def vmap_of_bag_equals_separate_calls(case: BagCase, out: Outcome) -> Finding:
    judged = ~late_nan(case)
    return within(out.batched[judged], *part(bag_oracle.value(case), judged))


@embedding_bag.law(
    "Double backward either raises as not implemented or returns the correct derivative.",
    source="autograd mechanics: dW is linear in dY, and so is ds",
    when=lambda case: (
        case.route == "double_backward" and not case.trailing and case.values not in ("special", "poisoned")
    ),
    modes=GRAPH,
)
def bag_double_backward_is_correct_or_not_implemented(case: BagCase, out: Outcome) -> Finding:
    findings = []
    # The probes are the table and the weights themselves, so that each gives the value.
    for kind in ("table", "samples"):
        if f"{kind}_missing" in out:
            refused = out.seen[f"{kind}_missing"]
            findings.append(HOLDS if refused else within(getattr(out, f"{kind}_twice"), *bag_oracle.value(case)))
    return every(*findings)


@embedding_bag.law(
    "Forward-mode AD either raises as not implemented or returns the correct tangent.",
    source="torch.func.jvp; the reduction is linear in W and in the weights, and a maximum is homogeneous",
    when=lambda case: case.route == "forward_mode" and not case.trailing and case.values not in ("special", "poisoned"),
    modes=GRAPH,
)
def bag_forward_mode_is_correct_or_not_implemented(case: BagCase, out: Outcome) -> Finding:
    if out.tangent_missing.raw:
        return HOLDS  # it is refused
    value, limit = bag_oracle.value(case)
    by = 2 if case.learns == "both" else 1  # both factors move
    return within(out.tangent, by * value, by * limit)


test_scope, test_product, test_random = embedding_bag.tests()
