"""Bag: embedding_bag(i) = reduce(W[i]) over each bag, by sum, mean or max, with the gradients that follow.

What the documentation says and no law repeats in its words: "input and offsets have to be of the same type" is not so
(they are promoted: obligation *mixed_dtypes*); "include_last_offset is ignored when input is 2D" and "offsets is
required to be None" are cases with *batch*; "per_sample_weights … of float / double" means the table's own dtype.
Linearity needs no law of its own: values and gradients are compared with exact integers of every sign.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from embcheck.arrival import as_if, often
from embcheck.bag import oracle as bag_oracle
from embcheck.bag import space as bag_space
from embcheck.bag.aim import aimed_bag
from embcheck.bag.canon import canonical
from embcheck.bag.case import LATE_STRAYS, OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.bag.misfit import FATAL
from embcheck.bag.mistake import BAG_ERRORS
from embcheck.bag.oracle import Expected
from embcheck.bag.region import derived, is_fast
from embcheck.bag.route import BAG_TIMES
from embcheck.bag.smaller import smaller
from embcheck.comparison import described, every, identical, is_false, is_true, refuses, same, unwritten, within
from embcheck.declaration import is_subject
from embcheck.law import Family
from embcheck.layout import row_major
from embcheck.outcome import Field, Outcome
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space

#: All modes that make a graph.
GRAPH = ("graph",)


def no_old_order(case: BagCase, out: Outcome) -> str | None:
    """The old order of the arguments is deprecated: a release without it refuses the call.  So may one refuse tokens of
    which no bag is made, as no document says what they are for."""
    if isinstance(out.error, RuntimeError) and case.trailing and not len(case.lengths) and "offsets" in str(out.error):
        return "tokens without a bag are refused"
    gone = case.entry == "swapped" and "'indices'" in str(out.error)  # a floating table is no index
    return "embedding_bag(weight, input) is gone" if gone else None


bag = Family(
    "bag",
    Space(
        BagCase,
        bag_space.AXES,
        canonical,
        bag_space.scope,
        bag_space.landmarks,
        flags=("mode", "bags", "padding_idx", "scale_grad_by_freq", "sparse", "dtype", "include_last_offset"),
        base={"numel": 6, "indices": "unequal"},
        draw=bag_space.draw,
        smaller=smaller,
        aim=aimed_bag,
        aims=3.0,
        strength=2,
    ),
    bag_space.plan,
    modes=("eager", "no_grad", "inference"),
    call="bag",
    refused=lambda case: case.refused,
    not_applicable=no_old_order,
    cost=3.0,
    stride=4,
)


def times(case: BagCase) -> int:
    return BAG_TIMES.get(case.route, 1)


def table_learns(case: BagCase) -> bool:
    return derived(case) and case.learns in ("table", "both")


def samples_learn(case: BagCase) -> bool:
    return derived(case) and case.learns in ("weights", "both")


def bags_judged(case: BagCase) -> slice:
    """All bags; with tokens behind the last offset all but the last, of which another law speaks."""
    return slice(0, max(len(case.lengths) - (case.trailing > 0), 0))


def near_the_end(case: BagCase) -> Any:
    """Which rows the last bag or the tokens behind it hold, shape ``(num_embeddings,)``."""
    marked = np.zeros(case.num_embeddings, np.bool_)
    if case.trailing:
        last = int(case.lengths[-1]) if len(case.lengths) else 0
        marked[case.tokens[case.numel - last :]] = True
    return marked


def part(expected: Expected, rows: Any) -> Expected:
    """The same rows of a value and its bound."""
    return expected[0][rows], expected[1][rows]


def is_weighed(case: BagCase) -> bool:
    return case.mode != "max"


def is_maximum(case: BagCase) -> bool:
    return case.mode == "max"


def which_bag(case: BagCase, expected: Any, limit: Any) -> Any:
    """Says of the first bag that is wrong what it holds, and which row would explain that."""

    def explain(actual: Any) -> str:
        with np.errstate(invalid="ignore"):
            good = (np.abs(actual - expected) <= limit) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
            departure = actual - expected
        bags = np.flatnonzero(~good.all(axis=1))
        wrong = int(bags[0]) if len(bags) else 0
        held = case.tokens[: case.numel][case.bag_of == wrong]
        text = f"bag {wrong} of rows {held[:8].tolist()} is {actual[wrong][:6]}, expected {expected[wrong][:6]}"
        if case.mode != "sum" or case.weights not in (None, "ones"):
            return text
        due = np.bincount(held[held != case.lookup.padding_row], minlength=case.num_embeddings).tolist()
        found = as_if(departure[wrong], case.table_values, due)
        if found is None:
            return text
        row, came = found
        whose = ", the padding row," if row == case.lookup.padding_row else ""
        return f"{text}: as if row {row}{whose} had been added {often(came)}, not {often(due[row])}"

    return explain


def is_bag(case: BagCase, value: Field, expected: Expected) -> Finding:
    """Bags within the bounds of what is expected of them."""
    return within(value, *expected, which_bag(case, *expected))


@bag.law(
    "A bag's sum, or mean, is that of its rows times their weights, without padding; an empty bag is 0.",
    source="nn.EmbeddingBag: mode, per_sample_weights, padding_idx, include_last_offset, Shape",
    obliges={"mode=sum", "mode=mean", "empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag",
             "padding_hit", "negative_padding", "include_last_offset", "trailed", "batch", "weighted", "repeated",
             "unequal_lengths", "mixed_dtypes", "numel>3072", "num_embeddings>2000", "embedding_dim>128", "bag_count>128",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "index_dtype=int32", "values=special", "values=poisoned"},
    when=lambda case: is_weighed(case) and case.values != "vast",
)  # fmt: skip
def bag_sums_its_rows(case: BagCase, out: Outcome) -> Finding:
    if not case.trailing:
        return is_bag(case, out.value, bag_oracle.value(case))
    bags = bags_judged(case)
    return is_bag(case, out.value[bags], part(bag_oracle.value(case), bags))


@bag.law(
    "A mean lies among its rows also where their sum lies beyond the format.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.mean(dim=1), which does not add in half precision",
    obliges={"batch", "padding_hit"},
    when=lambda case: case.values == "vast",
)
def means_of_vast_rows_are_finite(case: BagCase, out: Outcome) -> Finding:
    return is_bag(case, out.value, bag_oracle.value(case))


@bag.law(
    "A sum of rows in half precision is rounded once: each row counts, however many there are.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.sum(dim=1), which does not add in half precision",
    obliges={"dtype=float16", "dtype=bfloat16", "numel>512", "batch", "padding_hit", "repeated", "weighted"},
    when=lambda case: (
        case.mode == "sum"
        and case.dtype in ("float16", "bfloat16")
        and case.values in ("fingerprint", "small", "real")
        and case.weights in (None, "ones", "small", "real")
        and not is_subject(case.entry)
    ),
)
def sums_of_half_precision_are_rounded_once(case: BagCase, out: Outcome) -> Finding:
    bags = bags_judged(case)
    return is_bag(case, out.value[bags], part(bag_oracle.value_in_single(case), bags))


@bag.law(
    "A bag's maximum is, in each column, the largest of its rows' elements without padding; an empty bag is 0.",
    source="nn.EmbeddingBag: mode, padding_idx; Shape",
    obliges={"empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag", "padding_hit", "batch",
             "include_last_offset", "trailed", "numel>3072", "dtype=float16", "dtype=bfloat16", "dtype=float64",
             "values=special", "values=poisoned"},
    when=is_maximum,
)  # fmt: skip
def bag_takes_the_maximum(case: BagCase, out: Outcome) -> Finding:
    if case.values != "special" and not case.trailing:
        return is_bag(case, out.value, bag_oracle.value(case))
    judged = ~bag_oracle.late_nan(case)  # of those another law speaks
    judged[bags_judged(case).stop :] &= not case.trailing
    return within(out.value[judged], *part(bag_oracle.value(case), judged))


@bag.law(
    "A maximum is copied: its bits, with the sign of zero and the payload of NaN, are those of one of the bag's rows.",
    source="nn.EmbeddingBag: mode: computes the max value over each bag",
    obliges={"values=special", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    # A product, even with one, makes of a NaN one of its own.
    when=lambda case: (
        is_maximum(case) and not case.trailing and (case.route, case.values) != ("through_product", "special")
    ),
)
def maximum_is_copied(case: BagCase, out: Outcome) -> Finding:
    bags, tokens = case.bag_of[case.kept], case.tokens[: case.numel][case.kept]
    bits = out.value.bits
    if not bags.size or bits.shape != (len(case.lengths), case.embedding_dim):
        return UNASKED
    rows = case.format.to_bits(case.table_stored)[tokens]
    starts = np.flatnonzero(np.r_[True, np.diff(bags) != 0])
    found = np.logical_or.reduceat(rows == bits[bags], starts, axis=0)
    if found.all():
        return HOLDS
    wrong = int(bags[starts][np.flatnonzero(~found.all(1))[0]])
    return identical(out.value[wrong], case.format.to_bits(case.table_stored)[tokens[bags == wrong][0]])


@bag.law(
    "A NaN among a bag's rows is its maximum, wherever it stands, for two-dimensional input.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.max(dim=1), which propagates NaN",
    obliges={"nan_in_bag"},
    when=lambda case: is_maximum(case) and case.batch and case.values == "special",
)
def maximum_propagates_nan(case: BagCase, out: Outcome) -> Finding:
    expected, _ = bag_oracle.value(case)
    if out.value.stored.shape != expected.shape:
        return same(out.value, expected)
    return same(out.value[np.isnan(expected)], np.nan)


@bag.law(
    "With include_last_offset the last offset is the end of the last bag: tokens behind it are in none.",
    source="nn.EmbeddingBag: include_last_offset: the ending index position of the last bag; CSR format",
    obliges={"trailed", "mode=sum", "mode=mean", "mode=max"},
    when=lambda case: case.trailing > 0,
)
def last_offset_ends_the_last_bag(case: BagCase, out: Outcome) -> Finding:
    last = np.arange(len(case.lengths)) >= bags_judged(case).stop
    if is_maximum(case):
        last = last[:, None] & ~bag_oracle.late_nan(case)  # of those another law speaks
    return within(out.value[last], *part(bag_oracle.value(case), last))


@bag.law("The output has a row for each bag and embedding_dim columns.", source="nn.EmbeddingBag: Shape", metadata=True)
def bag_has_shape(case: BagCase, out: Outcome) -> Finding:
    return described(out.value, shape=(len(case.lengths), case.embedding_dim))


@bag.law("The output is a plain, dense, contiguous Tensor of the table's dtype.", source="torch.Tensor.is_contiguous",
         metadata=True)  # fmt: skip
def bag_is_contiguous(case: BagCase, out: Outcome) -> Finding:
    return every(
        UNASKED if out.mode == "fake" else is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, dtype=case.dtype, is_contiguous=True, layout="strided"),
    )


@bag.law(
    "The output is a new tensor: no view of another, its strides row-major in axes of one too; what is made in inference "
    "mode is an inference tensor.",
    source="torch.empty; torch.Tensor.stride; torch.inference_mode",
    when=lambda case: case.route in ("value", "backward_call", "autograd_grad") and not is_subject(case.entry),
    metadata=True,
)
def bag_is_new(case: BagCase, out: Outcome) -> Finding:
    if out.mode not in bag.modes:
        return UNASKED  # a graph, or a transform, has views of its own
    made = {"_is_view": False, "is_inference": out.mode == "inference"}
    return described(out.value, stride=row_major((len(case.lengths), case.embedding_dim)), **made)


@bag.law(
    "A dense gradient that autograd.grad gives is row-major.",
    source="Autograd mechanics; _embedding_bag_dense_backward: zeros; _embedding_bag_per_sample_weights_backward",
    when=lambda case: case.route == "autograd_grad" and (table_learns(case) or samples_learn(case)),
    modes=GRAPH,
    metadata=True,
)
def bag_gradients_are_contiguous(case: BagCase, out: Outcome) -> Finding:
    return every(
        described(out.weight_grad, is_contiguous=True) if table_learns(case) and not case.sparse else UNASKED,
        described(out.sample_grad, is_contiguous=True) if samples_learn(case) else UNASKED,
    )


@bag.law(
    "The output requires grad exactly when something learns and gradients are enabled.",
    source="autograd mechanics",
    metadata=True,
)
def bag_requires_grad(case: BagCase, out: Outcome) -> Finding:
    if case.route in ("doubled", "overwritten", "vjp", "func_grad", "forward_mode"):
        return UNASKED  # what is shown is a copy
    expected = case.learns != "none" and out.makes_graph
    return described(out.value, requires_grad=expected, is_leaf=not expected)


@bag.law("What an earlier call returned stays as it was.", source="no aliasing between calls", metadata=True)
def bag_leaves_earlier_outputs(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@bag.law("The output has memory of its own.", source="no aliasing")
def bag_is_a_copy(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with an input")


@bag.law("A table that is given is the parameter's memory, unless it is loaded, which copies; a copy has its own.",
         source="nn.EmbeddingBag.from_pretrained; torch.nn.Parameter", when=lambda case: case.entry not in ("loaded",))  # fmt: skip
def bag_keeps_the_given_table(case: BagCase, out: Outcome) -> Finding:
    if not out.keeps_memory:
        return (
            is_false(out.shares_table, "the copy lies in the memory of the table")
            if case.table_values.size
            else UNASKED
        )
    return is_true(out.shares_table, "the parameter is a copy of the table that was given")


@bag.law("Nothing is written: table, indices, offsets, weights, gradient, what lies around them, and their versions.",
         source="no side effects")  # fmt: skip
def bag_writes_nothing(case: BagCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.versions, "a version counter of the inputs moved"))


@bag.law(
    "A bag leaves the modes, the default dtype, the threads and the random numbers as they are.",
    source="no side effects",
)
def bag_leaves_surroundings(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.surroundings, "grad mode, default dtype, threads, determinism or random numbers changed")


@bag.law(
    "A row's gradient is the sum of its bags' gradients, times the weights, divided by a mean's number and by the "
    "row's count if asked; padding and rows that no bag holds get 0.",
    source="nn.EmbeddingBag: scale_grad_by_freq, sparse, padding_idx, per_sample_weights",
    obliges={"mode=sum", "mode=mean", "scale_grad_by_freq", "sparse", "empty_bag", "padding_bag", "padding_hit", "weighted",
             "negative_padding", "repeated", "untouched_row", "unequal_lengths", "numel>1000", "embedding_dim>64",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "learns=both"},
    when=lambda case: table_learns(case) and is_weighed(case),
    modes=GRAPH,
)  # fmt: skip
def bag_gradient_is_scattered(case: BagCase, out: Outcome) -> Finding:
    if not case.trailing:
        return within(out.weight_grad, *bag_oracle.table_gradient(case, times(case)))
    rows = ~near_the_end(case)
    return within(out.weight_grad[rows], *part(bag_oracle.table_gradient(case, times(case)), rows))


@bag.law(
    "A sparse gradient says that it is coalesced only if its rows ascend, each once.",
    source="torch.sparse: coalesced tensors; nn.EmbeddingBag: sparse",
    obliges={"repeated", "route=autograd_grad"},
    when=lambda case: case.sparse and table_learns(case) and case.mode != "max",
    modes=GRAPH,
)
def bag_duplicates_are_not_called_coalesced(case: BagCase, out: Outcome) -> Finding:
    if not out.weight_grad.plain("is_sparse"):
        return UNASKED
    rows = np.asarray(out.weight_grad.meta("_indices").raw)[0]
    return HOLDS if (np.diff(rows) > 0).all() else same(out.weight_grad.meta("is_coalesced"), False)


@bag.law(
    "A maximum's gradient goes, in each column, to the row that it was taken from.",
    source="nn.EmbeddingBag: mode; ties between rows are left open",
    obliges={"empty_bag", "padding_bag", "repeated", "untouched_row", "numel>1000", "dtype=float16", "dtype=bfloat16"},
    when=lambda case: table_learns(case) and is_maximum(case),
    modes=GRAPH,
)
def maximum_gradient_goes_to_its_row(case: BagCase, out: Outcome) -> Finding:
    if not case.trailing:
        return within(out.weight_grad, *bag_oracle.table_gradient(case, times(case)))
    rows = ~near_the_end(case)
    return within(out.weight_grad[rows], *part(bag_oracle.table_gradient(case, times(case)), rows))


@bag.law(
    "A maximum's gradient is that of one of its rows: over the rows that tie, the shares sum to the bag's gradient.",
    source="nn.EmbeddingBag: mode; a subgradient of max is a convex combination",
    obliges={"tied_maximum"},
    when=lambda case: table_learns(case) and is_maximum(case) and not case.trailing and case.values != "special",
    modes=GRAPH,
)
def tied_gradients_sum_to_the_bags(case: BagCase, out: Outcome) -> Finding:
    total, limit = bag_oracle.column_sums(case, times(case))
    got, bound = out.weight_grad.values.sum(0), limit
    wrong = np.abs(got - total) > bound
    if not wrong.any():
        return HOLDS
    k = int(np.flatnonzero(wrong)[0])
    words = f"column {k} of the gradient sums to {got[k]:g}, the bags' gradients to {total[k]:g}"
    return Difference(
        "sum", f"{out.weight_grad.place}[:, {k}].double().sum()", float(got[k]), float(total[k]), words, float(bound[k])
    )


@bag.law(
    "Tokens behind the last offset get no gradient, and take nothing from the last bag's.",
    source="nn.EmbeddingBag: include_last_offset: the ending index position of the last bag",
    obliges={"trailed", "sparse"},
    when=lambda case: table_learns(case) and case.trailing > 0,
    modes=GRAPH,
)
def tokens_behind_the_last_offset_get_nothing(case: BagCase, out: Outcome) -> Finding:
    rows = near_the_end(case)
    return within(out.weight_grad[rows], *part(bag_oracle.table_gradient(case, times(case)), rows))


@bag.law(
    "Padding rows and rows that no bag holds get exactly zero gradient.",
    source="nn.EmbeddingBag: padding_idx",
    obliges={"padding_hit", "untouched_row"},
    when=table_learns,
    modes=GRAPH,
)
def other_rows_get_zero(case: BagCase, out: Outcome) -> Finding:
    idle = (case.counts == 0) & ~near_the_end(case)
    if case.lookup.padding_row is not None and case.num_embeddings:
        idle[case.lookup.padding_row] = True
    return same(out.weight_grad[idle], 0)


@bag.law(
    "The gradient of per_sample_weights is ⟨dY, W[i]⟩ of each token, 0 for padding.",
    source="nn.EmbeddingBag: per_sample_weights",
    obliges={
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
def sample_gradient_is_a_product(case: BagCase, out: Outcome) -> Finding:
    value, limit = bag_oracle.sample_gradient(case, times(case))
    if case.trailing:
        return within(out.sample_grad[: case.numel], value[: case.numel], limit[: case.numel])
    shape = case.inputs()["sample_weights"].stored.shape
    return within(out.sample_grad, value.reshape(shape), limit.reshape(shape))


@bag.law(
    "The weights of tokens behind the last offset get no gradient.",
    source="nn.EmbeddingBag: include_last_offset, per_sample_weights",
    obliges={"trailed"},
    when=lambda case: samples_learn(case) and case.trailing > 0,
    modes=GRAPH,
)
def weights_behind_the_last_offset_get_nothing(case: BagCase, out: Outcome) -> Finding:
    return same(out.sample_grad[case.numel :], 0)


@bag.law(
    "Gradients have their leaves' shape and dtype; the table's is sparse exactly when asked; what does not learn gets none.",
    source="nn.EmbeddingBag: sparse; autograd mechanics",
    obliges={"sparse", "learns=weights", "learns=both"},
    when=lambda case: case.route not in ("value", "forward_mode"),
    modes=GRAPH,
    metadata=True,
)
def bag_gradients_have_kind(case: BagCase, out: Outcome) -> Finding:
    shape = (case.num_embeddings, case.embedding_dim)
    findings: list[Finding] = []
    if table_learns(case):
        findings.append(described(out.weight_grad, shape=shape, dtype=case.dtype, is_sparse=case.sparse))
    else:
        findings.append(same(out.weight_grad, None))
    if samples_learn(case):
        samples = case.inputs()["sample_weights"].stored.shape
        findings.append(described(out.sample_grad, shape=samples, dtype=case.dtype, is_sparse=False))
    else:
        findings.append(same(out.sample_grad, None))
    return every(*findings)


@bag.law("autograd.grad leaves .grad alone.", source="torch.autograd.grad", modes=GRAPH,
         when=lambda case: case.route == "autograd_grad")  # fmt: skip
def bag_grad_is_left_alone(case: BagCase, out: Outcome) -> Finding:
    return same(out.grad_left_alone, True)


@bag.law("A hook fires once for each tensor that has one.", source="torch.Tensor.register_hook", modes=GRAPH,
         when=lambda case: case.route in ("hooked", "value_hooked"))  # fmt: skip
def bag_hooks_fire_once(case: BagCase, out: Outcome) -> Finding:
    return same(out.hook_calls, 2 if case.learns == "both" and case.route == "hooked" else 1)


@bag.law("A hook on the output gets the upstream gradient.", source="torch.Tensor.register_hook", modes=GRAPH,
         when=lambda case: case.route == "value_hooked")  # fmt: skip
def bag_passes_the_gradient_to_hooks(case: BagCase, out: Outcome) -> Finding:
    return same(out.hook_grad, case.upstream_values)


@bag.law("Under vmap each batch of tokens has the value that it has alone.", source="torch.vmap", modes=GRAPH,
         when=lambda case: case.route == "batched" and not case.trailing)  # fmt: skip
def bag_is_batched_by_vmap(case: BagCase, out: Outcome) -> Finding:
    judged = ~bag_oracle.late_nan(case)
    return within(out.batched[judged], *part(bag_oracle.value(case), judged))


@bag.law(
    "The derivative of the derivative is refused as not implemented, or it is right: the reduction of the probe.",
    source="autograd mechanics: dW is linear in dY, and so is ds",
    when=lambda case: (
        case.route == "double_backward" and not case.trailing and case.values not in ("special", "poisoned")
    ),
    modes=GRAPH,
)
def bag_twice_derived_is_refused_or_right(case: BagCase, out: Outcome) -> Finding:
    findings = []
    # The probes are the table and the weights themselves, so that each gives the value.
    for kind in ("table", "samples"):
        if f"{kind}_missing" in out:
            refused = out.seen[f"{kind}_missing"]
            findings.append(HOLDS if refused else within(getattr(out, f"{kind}_twice"), *bag_oracle.value(case)))
    return every(*findings)


@bag.law(
    "Forward mode is refused as not implemented, or it is right: the tangent of W along W is the value.",
    source="torch.func.jvp; the reduction is linear in W and in the weights, and a maximum is homogeneous",
    when=lambda case: case.route == "forward_mode" and not case.trailing and case.values not in ("special", "poisoned"),
    modes=GRAPH,
)
def bag_forward_mode_is_refused_or_right(case: BagCase, out: Outcome) -> Finding:
    if out.tangent_missing.raw:
        return HOLDS  # it is refused
    value, limit = bag_oracle.value(case)
    by = 2 if case.learns == "both" else 1  # both factors move
    return within(out.tangent, by * value, by * limit)


@bag.law("from_pretrained freezes the table unless told otherwise.", source="nn.EmbeddingBag.from_pretrained: freeze",
         modes=GRAPH, when=lambda case: case.entry == "frozen")  # fmt: skip
def pretrained_bag_is_frozen(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.frozen, "the table requires grad")


def errors(case: BagCase) -> tuple[type[BaseException], ...]:
    """What refuses a mistake: RuntimeError from the operator, or what Python's side documents."""
    if case.mistake in (*STRAYS, *LATE_STRAYS, *OFFSET_MISTAKES):
        return (RuntimeError, IndexError)
    return (BAG_ERRORS.get(case.mistake or "", RuntimeError),)


def is_unread(case: BagCase, out: Outcome) -> bool:
    """Whether a token outside the table stands where nobody promises that it is looked at: it is in no bag, which
    embedding_bag ends with 'the ending index position of the last bag'; fast kernels do not read it, and no gradient
    goes back to it."""
    return case.mistake in LATE_STRAYS and is_fast(case) and not (derived(case) and out.makes_graph)


@bag.law(
    "Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written; a "
    "token in no bag, which nothing reads, may be accepted if the bags are right.",
    source="nn.EmbeddingBag: Args, Shape",
    obliges={f"mistake={name}" for name in (*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS, *BAG_ERRORS) if name not in FATAL}
    | {"on_meta"},
    refusal=True,
)
def bag_refuses_mistakes(case: BagCase, out: Outcome) -> Finding:
    if out.error is None and is_unread(case, out):
        bags = bags_judged(case)
        return every(is_bag(case, out.value[bags], part(bag_oracle.value(case), bags)), unwritten(out))
    return every(refuses(out, *errors(case)), unwritten(out))


test_scope, test_product, test_random = bag.tests()
