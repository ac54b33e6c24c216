"""Bag: embedding_bag(i) = reduce(W[i]) over each bag, by sum, mean or max, with the gradients that follow."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcheck import bag_oracle, bag_space
from embcheck.bag_case import OFFSET_MISTAKES, STRAYS, BagCase
from embcheck.bag_mistake import BAG_ERRORS
from embcheck.bag_route import BAG_TIMES
from embcheck.bag_smaller import smaller
from embcheck.law import Family, Finding, described, every, is_true, refuses, same, unwritten, within
from embcheck.outcome import Outcome
from embcheck.space import Space

EAGER = ("eager",)

bag = Family(
    "bag",
    Space(
        BagCase,
        bag_space.AXES,
        bag_space.canonical,
        bag_space.scope,
        bag_space.landmarks,
        flags=("mode", "bags", "padding_idx", "scale_grad_by_freq", "sparse", "dtype", "include_last_offset"),
        base={"numel": 6, "indices": "unequal"},
        draw=bag_space.draw,
        smaller=smaller,
        strength=2,
    ),
    bag_space.plan,
    modes=("eager", "no_grad", "inference"),
    refused=lambda case: case.refused,
    cost=3.0,
    stride=3,
)


def times(case: BagCase) -> int:
    return BAG_TIMES.get(case.route, 1)


def table_learns(case: BagCase) -> bool:
    return case.route != "value" and case.learns in ("table", "both")


def samples_learn(case: BagCase) -> bool:
    return case.route != "value" and case.learns in ("weights", "both")


def is_weighed(case: BagCase) -> bool:
    return case.mode != "max"


def is_maximum(case: BagCase) -> bool:
    return case.mode == "max"


def which_bag(case: BagCase) -> Any:
    """Says what a wrong bag holds instead: another bag's value, or one that lacks a token or has it twice."""

    def explain(actual: Any) -> str:
        expected, limit = bag_oracle.value(case)
        with np.errstate(invalid="ignore"):
            good = (np.abs(actual - expected) <= limit) | (actual == expected) | (np.isnan(actual) & np.isnan(expected))
        bags = np.flatnonzero(~good.all(axis=1))
        wrong = int(bags[0]) if len(bags) else 0
        tokens = case.tokens[: case.numel][(case.bag_of == wrong) & case.kept]
        text = f"bag {wrong} of rows {tokens[:8].tolist()} is {actual[wrong][:6]}, expected {expected[wrong][:6]}"
        if case.mode == "sum":
            departure = actual[wrong] - expected[wrong]
            for row in range(case.num_embeddings if departure.any() else 0):
                if np.array_equal(departure, case.table_values[row]):
                    return f"{text}: row {row} is added once too often"
                if np.array_equal(departure, -case.table_values[row]):
                    return f"{text}: row {row} is missing"
        return text

    return explain


@bag.law(
    "A bag's sum, or mean, is that of its rows times their weights, without padding; an empty bag is 0.",
    source="nn.EmbeddingBag: mode, per_sample_weights, padding_idx, include_last_offset, Shape",
    obliges={"mode=sum", "mode=mean", "empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag",
             "padding_hit", "negative_padding", "include_last_offset", "trailed", "batch", "weighted", "repeated",
             "unequal_lengths", "mixed_dtypes", "numel>3072", "num_embeddings>2000", "embedding_dim>128", "bag_count>128",
             "dtype=float16", "dtype=bfloat16", "dtype=float64", "index_dtype=int32", "values=special", "values=poisoned"},
    when=is_weighed,
)  # fmt: skip
def bag_sums_its_rows(case: BagCase, out: Outcome) -> Finding:
    return within(out.value, *bag_oracle.value(case), which_bag(case))


@bag.law(
    "A bag's maximum is, in each column, the largest of its rows' elements without padding; an empty bag is 0.",
    source="nn.EmbeddingBag: mode, padding_idx; equivalence with torch.max(dim=1) for two-dimensional input",
    obliges={"empty", "no_bags", "empty_first", "empty_middle", "empty_last", "padding_bag", "padding_hit", "batch",
             "include_last_offset", "trailed", "numel>3072", "dtype=float16", "dtype=bfloat16", "dtype=float64",
             "values=special", "values=poisoned"},
    when=is_maximum,
)  # fmt: skip
def bag_takes_the_maximum(case: BagCase, out: Outcome) -> Finding:
    return within(out.value, *bag_oracle.value(case), which_bag(case))


@bag.law("The output has a row for each bag and embedding_dim columns.", source="nn.EmbeddingBag: Shape")
def bag_has_shape(case: BagCase, out: Outcome) -> Finding:
    return described(out.value, shape=(len(case.lengths), case.embedding_dim))


@bag.law("The output is a plain, dense, contiguous Tensor of the table's dtype.", source="torch.Tensor.is_contiguous")
def bag_is_contiguous(case: BagCase, out: Outcome) -> Finding:
    return every(
        is_true(out.plain, "the output is no plain Tensor"),
        described(out.value, dtype=case.dtype, is_contiguous=True, layout="strided"),
    )


@bag.law("The output requires grad exactly when something learns and gradients are enabled.", source="autograd mechanics")
def bag_requires_grad(case: BagCase, out: Outcome) -> Finding:
    if case.route in ("doubled", "overwritten"):
        return None  # what is shown is a copy
    expected = case.learns != "none" and out.mode == "eager"
    return described(out.value, requires_grad=expected, is_leaf=not expected)


@bag.law("The output has memory of its own.", source="no aliasing")
def bag_is_a_copy(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.separate, "the output shares memory with an input")


@bag.law("A table that is given is the parameter's memory, unless it is loaded, which copies.",
         source="nn.EmbeddingBag.from_pretrained; torch.nn.Parameter", when=lambda case: case.entry != "loaded")  # fmt: skip
def bag_keeps_the_given_table(case: BagCase, out: Outcome) -> Finding:
    return is_true(out.shares_table, "the parameter is a copy of the table that was given")


@bag.law("Nothing is written: table, indices, offsets, weights, gradient, what lies around them, and their versions.",
         source="no side effects")  # fmt: skip
def bag_writes_nothing(case: BagCase, out: Outcome) -> Finding:
    return every(unwritten(out), is_true(out.versions, "a version counter of the inputs moved"))


@bag.law("A bag leaves the modes, the default dtype, the threads and the random numbers as they are.", source="no side effects")
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
    modes=EAGER,
)  # fmt: skip
def bag_gradient_is_scattered(case: BagCase, out: Outcome) -> Finding:
    return within(out.weight_grad, *bag_oracle.table_gradient(case, times(case)))


@bag.law(
    "A maximum's gradient goes, in each column, to the row that it was taken from.",
    source="nn.EmbeddingBag: mode; ties between rows are left open",
    obliges={"empty_bag", "padding_bag", "repeated", "untouched_row", "numel>1000", "dtype=float16", "dtype=bfloat16"},
    when=lambda case: table_learns(case) and is_maximum(case),
    modes=EAGER,
)
def maximum_gradient_goes_to_its_row(case: BagCase, out: Outcome) -> Finding:
    return within(out.weight_grad, *bag_oracle.table_gradient(case, times(case)))


@bag.law(
    "Padding rows and rows that no bag holds get exactly zero gradient.",
    source="nn.EmbeddingBag: padding_idx",
    obliges={"padding_hit", "untouched_row"},
    when=table_learns,
    modes=EAGER,
)
def other_rows_get_zero(case: BagCase, out: Outcome) -> Finding:
    idle = case.counts == 0
    if case.lookup.padding_row is not None and case.num_embeddings:
        idle[case.lookup.padding_row] = True
    return same(out.weight_grad[idle], 0)


@bag.law(
    "The gradient of per_sample_weights is ⟨dY, W[i]⟩ of each token, 0 for padding and behind the last bag.",
    source="nn.EmbeddingBag: per_sample_weights",
    obliges={"padding_hit", "weights=zero", "learns=weights", "learns=both", "sparse", "dtype=float16", "dtype=bfloat16"},
    when=samples_learn,
    modes=EAGER,
)
def sample_gradient_is_a_product(case: BagCase, out: Outcome) -> Finding:
    value, limit = bag_oracle.sample_gradient(case, times(case))
    shape = case.inputs()["sample_weights"].stored.shape
    return within(out.sample_grad, value.reshape(shape), limit.reshape(shape))


@bag.law(
    "Gradients have their leaves' shape and dtype; the table's is sparse exactly when asked; what does not learn gets none.",
    source="nn.EmbeddingBag: sparse; autograd mechanics",
    obliges={"sparse", "learns=weights", "learns=both"},
    when=lambda case: case.route != "value",
    modes=EAGER,
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


@bag.law("autograd.grad leaves .grad alone.", source="torch.autograd.grad", modes=EAGER,
         when=lambda case: case.route == "autograd_grad")  # fmt: skip
def bag_grad_is_left_alone(case: BagCase, out: Outcome) -> Finding:
    return same(out.grad_left_alone, True)


@bag.law("A hook fires once for each leaf.", modes=EAGER, when=lambda case: case.route == "hooked")
def bag_hooks_fire_once(case: BagCase, out: Outcome) -> Finding:
    return same(out.hook_calls, 2 if case.learns == "both" else 1)


def errors(case: BagCase) -> tuple[type[BaseException], ...]:
    """What refuses a mistake: RuntimeError from the operator, or what Python's side documents."""
    if case.mistake in STRAYS or case.mistake == "offsets_negative":
        return (RuntimeError, IndexError)
    return (BAG_ERRORS.get(case.mistake or "", RuntimeError),)


@bag.law(
    "Offsets that are none, tokens outside the table, and calls that mean nothing are refused, and nothing is written.",
    source="nn.EmbeddingBag: Args, Shape",
    obliges={f"mistake={name}" for name in (*OFFSET_MISTAKES, *STRAYS, *BAG_ERRORS)},
    refusal=True,
)
def bag_refuses_mistakes(case: BagCase, out: Outcome) -> Finding:
    return every(refuses(out, *errors(case)), unwritten(out))


test_scope, test_product, test_random = bag.tests()
