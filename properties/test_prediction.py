"""Prediction: a head with the embedding's table is judged by the loss that is documented, and so are its gradients."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from embcheck import stream
from embcheck.comparison import described, every, refuses, unwritten, within
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.prediction import gradient
from embcheck.prediction.case import IGNORE, IGNORED, MANY, MISTAKES, Prediction
from embcheck.prediction.program import JUDGES, in_parallel, plainly, predicted
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

#: Those that take neither distributions nor label smoothing.
LIKELIHOODS = ("likelihood", "likelihood_modules", "in_pieces")
#: Calls that came late, and whether they are here.
LATE = {
    "linear": hasattr(torch.nn.functional, "linear_cross_entropy"),
    **dict.fromkeys(("chunked", "chunked_by_default"), hasattr(torch.nn, "LinearCrossEntropyOptions")),
    # importing it takes long
    "in_pieces": Path(torch.__file__).with_name("distributed").joinpath("tensor", "_api.py").is_file(),
}
HERE = tuple(name for name in JUDGES if LATE.get(name, True))


def plan(case: Prediction) -> Plan:
    options = {
        "judge": JUDGES[case.call],
        "context": in_parallel if case.call == "in_pieces" else plainly,
        "padding_idx": case.padding_idx,
        "flags": case.flags(),
    }
    return Plan(predicted, case.inputs(), options)


def canonical(case: Prediction) -> Prediction | None:
    """The case with axes that fit each other."""
    changes: dict[str, Any] = {}
    if case.padding_idx is not None:
        changes["padding_idx"] = case.padding_idx % case.num_embeddings
    if case.call in LIKELIHOODS:
        changes |= {"targets": "index", "label_smoothing": 0.0}
    if case.call in ("spatial", "mapped_batches") and len(case.shape) < 2:
        changes["shape"] = (2, 3)
    if case.call == "mapped":
        changes |= {"reduction": "none"} | ({} if case.shape else {"shape": (3,)})
    if case.mistake is not None:
        changes |= {
            "targets": "index",
            "ignored": "nothing",
            "ignore": "default",
            "weighted": False,
            "label_smoothing": 0.0,
        }
        changes |= {"barred": False} | ({} if case.call in ("spatial", "mapped_batches") else {"shape": (3,)})
        unheard = case.call in LIKELIHOODS and case.mistake.startswith("smoothing")
        # Distributed tensors write to the log what fails for them.
        unheard |= case.call == "in_pieces" and case.mistake == "targets_fractional"
        if unheard or (case.call == "mapped" and case.mistake == "reduction_unknown"):
            return None
    # A barred class has a bias; neither smoothing nor a target may reach it.
    if case.barred and case.num_embeddings > 2:
        changes |= {"bias": True, "label_smoothing": 0.0}
    else:
        changes["barred"] = False
    fitted = case.but(**changes)
    if fitted.targets == "probability":
        fitted = fitted.but(ignored="nothing", ignore="default")
    if not fitted.exact:
        fitted = fitted.but(scale=1)
    if fitted.numel > MANY:
        fitted = fitted.but(reduction="mean", layout="contiguous")
    if fitted.targets == "probability" or fitted.ignored == "nothing":
        fitted = fitted.but(poisoned=False)
    if fitted.empty and fitted.kept.any():
        fitted = fitted.but(weighted=False)
    return fitted


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (4, 3, 1, 7, 33),
    "embedding_dim": (2, 1, 5, 0),
    "shape": ((3,), (), (5,), (2, 3), (3, 3), (0,), (2, 2, 2), (17,)),
    "call": tuple(JUDGES),
    "targets": ("index", "probability"),
    "reduction": ("mean", "sum", "none"),
    "ignored": IGNORED,
    "ignore": IGNORE,
    "weighted": (False, True),
    "label_smoothing": (0.0, 0.25, 1.0),
    "bias": (False, True),
    "barred": (False, True),
    "poisoned": (False, True),
    "padding_idx": (None, 0, -1),
    "scale": (1, 4),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "layout": ("contiguous", "transposed", "column_slice", "strided"),
}


def scope() -> Iterator[Prediction]:
    """Every call with every reduction, choice of targets and flags; every mistake."""
    flags = itertools.product(IGNORED, (False, True), (0.0, 0.25))
    chosen = itertools.product(JUDGES, ("mean", "sum", "none"), ("index", "probability"), flags)
    seen = set()
    for seed, (call, reduction, targets, (ignored, weighted, smoothing)) in enumerate(chosen):
        case = Prediction(
            AXES["num_embeddings"][seed % 2], 2, AXES["shape"][seed % 4 and seed % 5], call, targets, reduction, ignored,
            IGNORE[seed % 5], weighted, smoothing, bool(seed % 2), padding_idx=(None, 0, -1)[seed % 3],
            dtype=AXES["dtype"][seed // 3 % 4], seed=seed,
        )  # fmt: skip
        fitted = canonical(case)
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted
    for call, mistake, reduction in itertools.product(JUDGES, MISTAKES, ("mean", "none")):
        yield from filter(None, [canonical(Prediction(call=call, mistake=mistake, reduction=reduction))])


def landmarks() -> Iterator[Prediction]:
    """Every call with what is ignored, weighted and smoothed at once; logits whose exponentials overflow; so many tokens
    that half precision can't hold their number; every mistake."""
    return filter(None, map(canonical, _landmarks()))


def _landmarks() -> Iterator[Prediction]:
    for seed, (call, reduction) in enumerate(itertools.product(JUDGES, ("mean", "sum", "none"))):
        base = Prediction(5, 3, (7,), call, "index", reduction, "some", IGNORE[1 + seed % 2], True, seed=seed)
        yield from (base, base.but(label_smoothing=0.25, bias=True), base.but(scale=4, weighted=False))
        yield from (base.but(barred=True), base.but(poisoned=True, shape=(3, 4)))
        yield Prediction(4, 2, (5,), call, "probability", reduction, weighted=True, seed=seed)
    for call in JUDGES:
        yield Prediction(33, 6, (17,), call, label_smoothing=0.25, scale=4, dtype="float16", seed=9)
    for call, dtype in itertools.product(JUDGES, ("float16", "bfloat16")):
        if call not in ("mapped", "spatial", "mapped_batches"):
            yield Prediction(2, 1, (70000,), call, dtype=dtype)
    for call, mistake in itertools.product(("cross_entropy", "likelihood", "chunked"), MISTAKES):
        yield Prediction(call=call, mistake=mistake)


def draw(draws: stream.Stream) -> Prediction | None:
    """A random case of small size."""
    chosen: dict[str, Any] = {name: draws.choice(values) for name, values in AXES.items()}
    sizes = {"num_embeddings": draws.between(1, 40), "embedding_dim": draws.between(1, 6)}
    mistake = draws.choice(MISTAKES) if draws.chance(10) else None
    return canonical(Prediction(**{**chosen, **sizes, "mistake": mistake, "seed": draws.between(0, 1 << 16)}))


def lacking(out: Outcome) -> str | None:
    """Why a call is not there."""
    if isinstance(out.error, ImportError):
        return "this release has no torch.distributed.tensor"
    absent = isinstance(out.error, AttributeError) and str(out.error).endswith(("'linear_cross_entropy'", "Options'"))
    return "this release has no linear_cross_entropy, or none in chunks" if absent else None


family = Family(
    "prediction",
    Space(
        Prediction, AXES, canonical, scope, landmarks, flags=("call", "reduction", "targets", "ignored"), draw=draw, strength=2
    ),
    plan,
    refused=lambda case: case.mistake is not None,
    untaken=lacking,
    cost=6.0,
)  # fmt: skip
law = family.law


@law(
    "The loss of a tied head is the documented one: −log softmax of the target's class, weighted, smoothed, without what is "
    "ignored; a mean divides by the weights of what it judges, or by the number of distributions.",
    source="torch.nn.CrossEntropyLoss, NLLLoss: the formulas; torch.nn.functional.linear_cross_entropy",
    obliges={f"call={name}" for name in HERE}
    | {"reduction=mean", "reduction=sum", "reduction=none", "targets=probability", "ignored=some", "ignored=all", "inside",
       "weighted", "label_smoothing>0", "bias", "barred", "poisoned", "rank>=2", "dtype=float16", "dtype=bfloat16", "scale>1"},
    when=lambda case: case.numel <= MANY,
)  # fmt: skip
def loss_is_the_documented_one(case: Prediction, out: Outcome) -> Finding:
    return within(out.value, *case.loss)


@law(
    "The mean over very many targets is as exact as its terms: sums are added up in a format that holds them.",
    source="Numerical accuracy: reductions of reduced precision accumulate in float32",
    obliges={"many", "dtype=float16", "dtype=bfloat16"},
    when=lambda case: case.numel > MANY,
)
def means_of_many_are_exact(case: Prediction, out: Outcome) -> Finding:
    return within(out.value, *case.loss)


@law(
    "The table's gradient is dZᵀ H from the head plus dZ W at the rows that were looked up, with dZ = g (softmax(Z) Σ A − A).",
    source="the chain rule over a shared Parameter",
    obliges={f"call={name}" for name in HERE}
    | {"ignored=some", "inside", "weighted", "label_smoothing>0", "bias", "padding_hit", "repeated", "targets=probability",
       "layout=transposed"},
    when=lambda case: case.numel <= MANY and not case.poisoned,
)  # fmt: skip
def tied_table_learns_from_both_ends(case: Prediction, out: Outcome) -> Finding:
    bias = within(out.bias_grad, *gradient.of_bias(case)) if case.bias else UNASKED
    return every(within(out.weight_grad, *gradient.of_table(case)), bias)


@law(
    "What is ignored sends nothing back: its rows get a gradient of exactly zero, also when nothing is left.",
    source="torch.nn.CrossEntropyLoss: ignore_index does not contribute to the input gradient",
    obliges={"ignored=some", "ignored=all", "inside", "label_smoothing>0", "weighted"}
    | {f"call={name}" for name in HERE},
    when=lambda case: not case.kept.all() and case.numel <= MANY and not case.poisoned,
)
def ignored_targets_send_nothing(case: Prediction, out: Outcome) -> Finding:
    expected, bound = gradient.of_hidden(case)
    return within(out.hidden_grad, expected.reshape(*case.shape, -1), bound.reshape(*case.shape, -1))


@law(
    "A loss has the shape of what it judges, or none, and the table's dtype.",
    source="torch.nn.CrossEntropyLoss: Shape",
    obliges={"reduction=none", "rank>=2"},
)
def loss_has_shape(case: Prediction, out: Outcome) -> Finding:
    return described(
        out.value, shape=case.shape if case.reduction == "none" else (), dtype=case.dtype, requires_grad=True
    )


@law(
    "A target outside the classes, weights or targets of another number, a smoothing outside 0 … 1, targets of fractions and an "
    "unknown reduction are refused.",
    source="torch.nn.CrossEntropyLoss: target in [0, C), weight of size C, label_smoothing in [0.0, 1.0]",
    refusal=True,
    obliges={f"mistake={name}" for name in MISTAKES},
)
def mistakes_in_losses_are_refused(case: Prediction, out: Outcome) -> Finding:
    return refuses(out, IndexError, RuntimeError, ValueError, AssertionError)


@law("Nothing is written: table, tokens, targets and weights stay.", source="no side effects")
def predictions_write_nothing(case: Prediction, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
