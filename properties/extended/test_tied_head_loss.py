"""Prediction: a head with the embedding's table is judged by the loss that is documented, and so are its gradients."""

from pathlib import Path

import torch

from embcheck.core.comparison import described, every, refuses, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Absent, Finding
from embcheck.families.tied_head_loss import oracle
from embcheck.families.tied_head_loss.cases import MANY, MISTAKES, TiedHeadLossCase
from embcheck.families.tied_head_loss.programs import LOSSES, OTHERWISE
from embcheck.families.tied_head_loss.space import SPACE, plan

#: Calls that came late, and whether they are here.
LATE = {
    "linear": hasattr(torch.nn.functional, "linear_cross_entropy"),
    "chunked": hasattr(torch.nn, "LinearCrossEntropyOptions"),
    # importing it takes long
    "in_pieces": Path(torch.__file__).with_name("distributed").joinpath("tensor", "_api.py").is_file(),
}
HERE = tuple(name for name in LOSSES if LATE.get(name, True))


def lacking(out: Outcome) -> str | None:
    return Absent("this release has no torch.distributed.tensor") if isinstance(out.error, ImportError) else None


family = Family("tied_head_loss", SPACE, plan, refused=lambda case: case.mistake is not None, untaken=lacking, cost=6.0)
law = family.law


@law(
    "The loss of a tied head is −log softmax of the targets, weighted, smoothed, ignored and reduced as documented.",
    source="torch.nn.CrossEntropyLoss, NLLLoss: the formulas; torch.nn.functional.linear_cross_entropy",
    must_cover={f"call={name}" for name in HERE}
    | {"reduction=mean", "reduction=sum", "reduction=none", "targets=probability", "ignored=some", "ignored=all", "inside",
       "weighted", "label_smoothing>0", "bias & embedding_dim=0", "rank>=2", "dtype=float16", "dtype=bfloat16", "scale>1",
       "largest_logit>89 & dtype=float32",  # whose exponential is beyond the format
       *(f"largest_logit>89 & num_embeddings>1024 & call={call}" for call in ("cross_entropy", "likelihood")),
       *(f"wide & call=cross_entropy & dtype={dtype}" for dtype in ("float32", "bfloat16", "float16")),
       "wide & call=chunked & dtype=float32",
       "call=decomposed & weighted & ignored=some & reduction=mean", "call=decomposed & ignored=some & reduction=none",
       "call=chunked & weighted & ignored=some & few_tokens & reduction=sum & ignore=default & numel>2",
       "classes_second & weighted & ignored=some & inside & reduction=mean",
       "classes_second & weighted & reduction=mean & call=likelihood & ignored=nothing & numel>4 & dtype=float32",
       "label_smoothing>0 & reduction=sum & ignored=some & ignore=default",
       "label_smoothing>0 & reduction=none & ignored=some & ignore=default",
       *(f"otherwise & weighted & call={name}" for name in OTHERWISE if name in HERE),
       *(f"otherwise & bias & label_smoothing>0 & call={name}" for name in OTHERWISE if name == "linear"),
       *(f"call={name} & weighted & dtype=float64 & reduction=mean" for name in ("module", "likelihood")),
       "call=divergence & rank=2 & reduction=mean", "of_bytes & largest_class>127",
       *(f"masked & numel>1 & call={name}" for name in HERE if name != "divergence")},
    when=lambda case: case.numel <= MANY,
)  # fmt: skip
def loss_follows_the_formula(case: TiedHeadLossCase, out: Outcome) -> Finding:
    return within(out.value, *case.loss)


@law(
    "The mean over very many targets is as exact as its terms.",
    source="Numerical accuracy: reductions of reduced precision accumulate in float32",
    must_cover={"many", "dtype=float16", "dtype=bfloat16"},
    when=lambda case: case.numel > MANY,
)
def mean_loss_accumulates_exactly(case: TiedHeadLossCase, out: Outcome) -> Finding:
    return within(out.value, *case.loss)


@law(
    "The table's gradient is dZᵀ H plus dZ W at the looked-up rows.",
    source="the chain rule over a shared Parameter",
    must_cover={f"call={name}" for name in HERE}
    | {"classes_second & numel>3 & num_embeddings>2 & embedding_dim>1 & ignored=some & reduction=mean & weighted=False",
       "ignored=some", "inside", "weighted", "label_smoothing>0", "bias", "padding_hit", "repeated", "targets=probability",
       "layout=transposed", "wide",
       "classes_second & num_embeddings>2048", "masked & numel>1", "largest_class>32768", "inner_size>64 & num_embeddings>1"},
    when=lambda case: case.differentiated,
)  # fmt: skip
def tied_table_gradient_sums_lookup_and_head(case: TiedHeadLossCase, out: Outcome) -> Finding:
    bias = within(out.bias_grad, *oracle.of_bias(case)) if case.bias else UNASKED
    expected, bound = oracle.of_table(case)
    first = within(out.first_grad, expected, bound) if case.twice else UNASKED
    return every(within(out.weight_grad, expected, bound), first, bias)


@law(
    "Ignored targets give exactly zero gradient, also when nothing is left.",
    source="torch.nn.CrossEntropyLoss: ignore_index does not contribute to the input gradient",
    must_cover={"ignored=some", "ignored=all", "inside", "weighted"}
    | {f"reduction={each} & inside & ignored=some & call=cross_entropy & weighted=False" for each in ("sum", "none")}
    | {f"label_smoothing>0 & ignored=some & reduction=mean & weighted={weighted}" for weighted in (False, True)}
    | {f"call={name}" for name in HERE if name != "divergence"},
    when=lambda case: not case.kept.all() and case.differentiated,
)
def ignored_targets_get_zero_gradient(case: TiedHeadLossCase, out: Outcome) -> Finding:
    expected, bound = oracle.of_hidden(case)
    return within(out.hidden_grad, expected.reshape(*case.shape, -1), bound.reshape(*case.shape, -1))


@law(
    "The gradient of class probabilities is −log softmax, weighted, smoothed and reduced as the loss is.",
    source="torch.nn.CrossEntropyLoss: the formula of class probabilities; the chain rule",
    must_cover={
        "weighted & reduction=mean & num_embeddings>1",
        "label_smoothing>0",
        "reduction=none",
        "reduction=sum",
        "rank>=2",
    },
    when=lambda case: case.learned and case.differentiated,
)
def class_probabilities_get_minus_log_softmax(case: TiedHeadLossCase, out: Outcome) -> Finding:
    expected, bound = oracle.of_targets(case)
    shape = *case.shape, case.num_embeddings
    return within(out.targets_grad, expected.reshape(shape), bound.reshape(shape))


@law(
    "A loss has the documented shape and the table's dtype.",
    source="torch.nn.CrossEntropyLoss: Shape",
    must_cover={"reduction=none", "rank>=2"},
)
def loss_has_documented_shape_and_dtype(case: TiedHeadLossCase, out: Outcome) -> Finding:
    return described(
        out.value,
        shape=case.shape if case.reduction == "none" else (),
        dtype=case.dtype,
        requires_grad=case.received != "frozen",
    )


@law(
    "Out-of-range targets, wrong sizes and smoothing above 1 raise.",
    source="torch.nn.CrossEntropyLoss: target in [0, C), weight of size C, label_smoothing in [0.0, 1.0]",
    refusal=True,
    must_cover={f"mistake={name}" for name in MISTAKES},
)
def invalid_loss_arguments_raise(case: TiedHeadLossCase, out: Outcome) -> Finding:
    return refuses(out, IndexError, RuntimeError, ValueError, AssertionError)


@law("Computing a loss writes neither to table, tokens, targets nor weights.", source="no side effects")
def loss_modifies_no_input(case: TiedHeadLossCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
