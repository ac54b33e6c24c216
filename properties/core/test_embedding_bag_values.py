"""Bag: embedding_bag(i) = reduce(W[i]) over each bag, by sum, mean or max, with the gradients that follow.

What the documentation says and no law repeats in its words: "input and offsets have to be of the same type" is not so
(they are promoted: obligation *mixed_dtypes*); "include_last_offset is ignored when input is 2D" and "offsets is
required to be None" are cases with *batch*; "per_sample_weights … of float / double" means the table's own dtype.
Linearity needs no law of its own: values and gradients are compared with exact integers of every sign.
"""

from functools import partial
from typing import Any

import numpy as np

from embcheck.core.case import with_padding_first
from embcheck.core.comparison import (
    described,
    every,
    identical,
    is_true,
    left_alone,
    refuses,
    rows_shown,
    same,
    unwritten,
    within,
)
from embcheck.core.declaration import is_subject
from embcheck.core.law import Family
from embcheck.core.layout import row_major
from embcheck.core.oracle import Expected
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import HOLDS, UNASKED, Absent, Finding
from embcheck.core.term_counts import as_if, often
from embcheck.families.embedding_bag import oracle as bag_oracle
from embcheck.families.embedding_bag import space as bag_space
from embcheck.families.embedding_bag.cases import LATE_STRAYS, OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.families.embedding_bag.invalid_calls import BAG_ERRORS, FATAL
from embcheck.families.embedding_bag.kernel_paths import derived, is_fast, late_nan
from embcheck.families.embedding_bag.space import SPACE
from embcheck.families.lookup.spelling import shares_table


def not_asked(case: BagCase, out: Outcome) -> str | None:
    """A release may refuse tokens of which no bag is made, as no document says what they are for, or any nested tensors."""
    if case.entry == "nested" and "Expected false to be true" in str(out.error):  # so 2.5 says of any
        return Absent("this release's embedding_bag takes no nested tensors")
    unbagged = case.trailing and not len(case.lengths)
    refused = unbagged and isinstance(out.error, RuntimeError) and "offsets" in str(out.error)
    return "tokens without a bag are refused" if refused else None


embedding_bag = Family(
    "embedding_bag",
    SPACE,
    bag_space.plan,
    modes=("eager", "no_grad", "inference"),
    call="bag",
    refused=lambda case: case.refused,
    not_applicable=not_asked,
    cost=3.0,
    stride=4,
    typical=with_padding_first("unequal_lengths & repeated & embedding_dim>=2"),
)


def bags_judged(case: BagCase) -> slice:
    """All bags; with tokens behind the last offset all but the last, of which another law speaks."""
    return slice(0, max(len(case.lengths) - (case.trailing > 0), 0))


def part(expected: Expected, rows: Any) -> Expected:
    """The same rows of a value and its bound."""
    return expected[0][rows], expected[1][rows]


def is_maximum(case: BagCase) -> bool:
    return case.mode == "max"


def which_bag(case: BagCase, expected: Any, limit: Any, actual: Any) -> str:
    """Says of the first bag that is wrong what it holds, and which row would explain that."""
    with np.errstate(invalid="ignore"):
        good = (np.abs(actual - expected) <= limit) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        departure = actual - expected
    bags = np.flatnonzero(~good.all(axis=1))
    wrong = int(bags[0]) if len(bags) else 0
    held = case.tokens[: case.numel][case.bag_of == wrong]
    came_out, wanted, apart = rows_shown(actual[wrong], expected[wrong], good[wrong])
    text = f"bag {wrong} of rows {held[:8].tolist()} is {came_out}, expected {wanted}{apart}"
    if case.mode != "sum" or case.weights not in (None, "ones"):
        return text
    due = np.bincount(held[held != case.lookup.padding_row], minlength=case.num_embeddings).tolist()
    found = as_if(departure[wrong], case.table_values, due)
    if found is None:
        return text
    row, came = found
    whose = ", the padding row," if row == case.lookup.padding_row else ""
    return f"{text}: as if row {row}{whose} had been added {often(came)}, not {often(due[row])}"


def is_bag(case: BagCase, value: Field, expected: Expected) -> Finding:
    """Bags within the bounds of what is expected of them."""
    return within(value, *expected, partial(which_bag, case, *expected))


def are_bags(case: BagCase, out: Outcome) -> Finding:
    """The value, and of several calls those that gave another than the first, within the bounds of what is expected."""
    expected = bag_oracle.value(case)
    return every(*(is_bag(case, value, expected) for value in [out.value, *out.along_first_axis("other_values")]))


@embedding_bag.law(
    "Sum and mean reduce each bag's rows times per_sample_weights, ignoring padding_idx; an empty bag gives zeros.",
    source="nn.EmbeddingBag: mode, per_sample_weights, padding_idx, include_last_offset, Shape",
    must_cover={"mode=sum", "mode=mean", "empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag",
             "padding_hit", "negative_padding", "include_last_offset", "trailed", "batch", "weighted", "repeated",
             "batch & weights_layout=transposed & weights=small & bag_count>1 & max_length>1",
             "unequal_lengths", "mixed_dtypes & numel>32768 & bag_count>32768", "num_embeddings>2000", "embedding_dim>128",
             "index_dtype=int32 & numel>32768 & bag_count>32768", "padding_hit & numel>32768",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "index_dtype=int32", "values=special", "values=poisoned",
             "entry=nested"},
    when=lambda case: not is_maximum(case) and case.values != "vast",
)  # fmt: skip
def bag_sum_and_mean_reduce_weighted_rows(case: BagCase, out: Outcome) -> Finding:
    if not case.trailing:
        return are_bags(case, out)
    bags = bags_judged(case)
    return is_bag(case, out.value[bags], part(bag_oracle.value(case), bags))


@embedding_bag.law(
    "A mean equals its expected finite value even if the sum of its rows overflows the dtype.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.mean(dim=1), which does not add in half precision",
    must_cover={"batch", "padding_hit"},
    when=lambda case: case.values == "vast",
)
def bag_mean_is_finite_when_sum_overflows(case: BagCase, out: Outcome) -> Finding:
    return is_bag(case, out.value, bag_oracle.value(case))


@embedding_bag.law(
    "A float16 or bfloat16 sum, also that of a mean, is accumulated in higher precision and rounded once.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.sum or mean(dim=1), which does not add in half precision",
    must_cover={"dtype=float16", "dtype=bfloat16", "numel>512", "batch", "padding_hit", "repeated", "weighted"}
    | {f"mode=mean & dtype={dtype} & max_length>256" for dtype in ("float16", "bfloat16")},
    when=lambda case: (
        case.mode != "max"
        and case.dtype in ("float16", "bfloat16")
        and case.values in ("fingerprint", "small", "real")
        and case.weights in (None, "ones", "small", "real")
        and not is_subject(case.entry)
    ),
)
def half_precision_bag_sum_is_rounded_once(case: BagCase, out: Outcome) -> Finding:
    bags = bags_judged(case)
    return is_bag(case, out.value[bags], part(bag_oracle.value_in_single(case), bags))


@embedding_bag.law(
    "Max mode returns each column's maximum over the bag's rows, ignoring padding_idx; an empty bag gives zeros.",
    source="nn.EmbeddingBag: mode, padding_idx; Shape",
    must_cover={"empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag", "padding_hit", "batch",
             "include_last_offset", "trailed", "numel>3072", "dtype=float16", "dtype=bfloat16", "dtype=float64",
             "values=special", "values=poisoned", "values=near & dtype=float64", "values=near & dtype=float32"},
    when=is_maximum,
)  # fmt: skip
def bag_max_is_columnwise_maximum(case: BagCase, out: Outcome) -> Finding:
    if case.values != "special" and not case.trailing:
        return are_bags(case, out)
    judged = ~late_nan(case)  # of those another law speaks
    judged[bags_judged(case).stop :] &= not case.trailing
    return within(out.value[judged], *part(bag_oracle.value(case), judged))


@embedding_bag.law(
    "Each element of a maximum equals, bit for bit, an element of one of the bag's rows.",
    source="nn.EmbeddingBag: mode: computes the max value over each bag",
    must_cover={"values=special", "dtype=float16", "dtype=bfloat16", "dtype=float64"},
    when=lambda case: is_maximum(case) and not case.trailing,
)
def bag_max_copies_row_elements(case: BagCase, out: Outcome) -> Finding:
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


@embedding_bag.law(
    "For 2-D input, a maximum is NaN wherever one of the bag's rows is NaN.",
    source="nn.EmbeddingBag: equivalent to Embedding followed by torch.max(dim=1), which propagates NaN",
    must_cover={"nan_in_bag"},
    when=lambda case: is_maximum(case) and case.batch and case.values == "special",
)
def bag_max_propagates_nan(case: BagCase, out: Outcome) -> Finding:
    expected, _ = bag_oracle.value(case)
    if out.value.stored.shape != expected.shape:
        return same(out.value, expected)
    return same(out.value[np.isnan(expected)], np.nan)


@embedding_bag.law(
    "With include_last_offset, the last bag ends at the last offset; later indices belong to no bag.",
    source="nn.EmbeddingBag: include_last_offset: the ending index position of the last bag; CSR format",
    must_cover={"trailed", "mode=sum", "mode=mean", "mode=max"},
    when=lambda case: case.trailing > 0,
)
def bag_last_offset_ends_last_bag(case: BagCase, out: Outcome) -> Finding:
    last = np.arange(len(case.lengths)) >= bags_judged(case).stop
    if is_maximum(case):
        last = last[:, None] & ~late_nan(case)  # of those another law speaks
    return within(out.value[last], *part(bag_oracle.value(case), last))


@embedding_bag.law(
    "The output has shape (number of bags, embedding_dim).", source="nn.EmbeddingBag: Shape", of="metadata"
)
def bag_output_has_documented_shape(case: BagCase, out: Outcome) -> Finding:
    return described(out.value, shape=(len(case.lengths), case.embedding_dim))


@embedding_bag.law("The output is a contiguous, strided torch.Tensor of the weight's dtype.", source="torch.Tensor.is_contiguous",
         of="metadata")  # fmt: skip
def bag_output_is_contiguous(case: BagCase, out: Outcome) -> Finding:
    return every(
        UNASKED if out.mode == "fake" else is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, dtype=case.dtype, is_contiguous=True, layout="strided"),
    )


@embedding_bag.law(
    "The output is a new tensor: not a view, with row-major strides.",
    source="torch.empty; torch.Tensor.stride; torch.inference_mode",
    when=lambda case: case.route in ("value", "backward_call", "autograd_grad") and not is_subject(case.entry),
    of="metadata",
)
def bag_output_is_a_new_tensor(case: BagCase, out: Outcome) -> Finding:
    if out.mode not in embedding_bag.modes:
        return UNASKED  # a graph, or a transform, has views of its own
    made = {"_is_view": False, "is_inference": out.mode == "inference"}
    return described(out.value, stride=row_major((len(case.lengths), case.embedding_dim)), **made)


@embedding_bag.law(
    "The output requires grad exactly when weight or per_sample_weights does and grad mode is enabled.",
    source="Autograd mechanics: setting requires_grad; grad modes",
    of="metadata",
)
def bag_output_requires_grad_iff_an_input_does(case: BagCase, out: Outcome) -> Finding:
    if case.route in ("vjp", "forward_mode"):
        return UNASKED  # what is shown is a copy
    expected = case.learns != "none" and out.makes_graph
    return described(out.value, requires_grad=expected, is_leaf=not expected)


@embedding_bag.law(
    "An embedding_bag call does not overwrite the result of an earlier call.",
    source="no aliasing between calls",
    of="metadata",
)
def bag_preserves_earlier_outputs(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.held, "an earlier result was overwritten") if "held" in out else UNASKED


@embedding_bag.law(
    "The output shares no memory with any input.",
    source="Tensor Views: embedding_bag is not among the view operations",
    of="memory",
)
def bag_output_shares_no_memory(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with an input")


@embedding_bag.law("The weight shares the given tensor's memory; a copy of the module does not.",
         source="nn.EmbeddingBag.from_pretrained; torch.nn.Parameter", when=lambda case: case.entry not in ("loaded",))  # fmt: skip
def bag_weight_shares_given_memory(case: BagCase, out: Outcome) -> Finding:
    return shares_table(out, case.table_values.size)


@embedding_bag.law("embedding_bag modifies neither its inputs, nor memory around them, nor their version counters.",
         source="no side effects", of="metadata")  # fmt: skip
def bag_modifies_no_input(case: BagCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.versions, "a version counter of the inputs moved"))


@embedding_bag.law(
    "embedding_bag changes neither grad mode, default dtype, thread count, deterministic mode nor random number generator state.",
    source="no side effects",
    of="metadata",
)
def bag_preserves_global_state(case: BagCase, out: Outcome) -> Finding:
    return left_alone(out.surroundings)


@embedding_bag.law("EmbeddingBag.from_pretrained freezes the weight by default.", source="nn.EmbeddingBag.from_pretrained: freeze",
         modes={"graph"}, when=lambda case: case.entry == "frozen")  # fmt: skip
def bag_from_pretrained_freezes_by_default(case: BagCase, out: Outcome) -> Finding:
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


@embedding_bag.law(
    "Invalid offsets, out-of-range indices and invalid arguments raise the expected error, and no input is modified.",
    source="nn.EmbeddingBag: Args, Shape",
    must_cover={
        f"mistake={name}" for name in (*OFFSET_MISTAKES, *STRAYS, *LATE_STRAYS, *BAG_ERRORS) if name not in FATAL
    }
    | {f"mistake={name} & offset_dtype=int32" for name in OFFSET_MISTAKES}
    | {"on_meta", "starts_late & offset_dtype=int64", "starts_late & offset_dtype=int32"},
    refusal=True,
)
def invalid_bag_calls_raise(case: BagCase, out: Outcome) -> Finding:
    if out.error is None and is_unread(case, out):
        bags = bags_judged(case)
        return every(is_bag(case, out.value[bags], part(bag_oracle.value(case), bags)), unwritten(out))
    return every(refuses(out, *errors(case)), unwritten(out))
