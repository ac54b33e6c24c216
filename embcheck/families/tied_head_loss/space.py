"""Which cases of tied_head_loss there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch

from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.tied_head_loss.cases import IGNORE, IGNORED, MANY, MISTAKES, TiedHeadLossCase
from embcheck.families.tied_head_loss.programs import LOSSES, in_parallel, predicted

#: Those that take neither distributions nor label smoothing.
LIKELIHOODS = ("likelihood", "in_pieces")


def plan(case: TiedHeadLossCase) -> Plan:
    options = {
        "loss": LOSSES[case.call],
        "context": in_parallel if case.call == "in_pieces" else torch.enable_grad,
        "padding_idx": case.padding_idx,
        "flags": case.flags(),
    }
    return Plan(predicted, case.inputs(), options)


_SIMPLE = {"targets": "index", "ignored": "nothing", "ignore": "default", "shape": (3,), "weighted": False}
_RULES: tuple[Rule, ...] = (
    (lambda c: c.call in LIKELIHOODS, {"targets": "index", "label_smoothing": 0.0}),
    (lambda c: c.mistake is not None, _SIMPLE | {"label_smoothing": 0.0}),
    (lambda c: c.targets == "probability", {"ignored": "nothing", "ignore": "default"}),
    (lambda c: not c.exact, {"scale": 1}),
    (lambda c: c.numel > MANY, {"reduction": "mean", "layout": "contiguous"}),
    (lambda c: c.empty and c.kept.any(), {"weighted": False}),
)


def repair(case: TiedHeadLossCase) -> TiedHeadLossCase | None:
    """The case with axes that fit each other."""
    if case.call in LIKELIHOODS and case.mistake == "smoothing_above_one":
        return None
    padding = None if case.padding_idx is None else case.padding_idx % case.num_embeddings
    return fitted(case.but(padding_idx=padding), _RULES)


AXES = values_of(TiedHeadLossCase)


def scope() -> Iterator[TiedHeadLossCase]:
    """Every call with every reduction, choice of targets and flags; every mistake."""
    flags = itertools.product(IGNORED, (False, True), (0.0, 0.25))
    chosen = itertools.product(LOSSES, ("mean", "sum", "none"), ("index", "probability"), flags)
    seen = set()
    for seed, (call, reduction, targets, (ignored, weighted, smoothing)) in enumerate(chosen):
        case = TiedHeadLossCase(
            AXES["num_embeddings"][seed % 2], 2, AXES["shape"][seed % 4 and seed % 5], call, targets, reduction, ignored,
            IGNORE[seed % 3], weighted, smoothing, bool(seed % 2), padding_idx=(None, 0, -1)[seed % 3],
            dtype=AXES["dtype"][seed // 3 % 4], seed=seed,
        )  # fmt: skip
        fitted = repair(case)
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted
    for call, mistake, reduction in itertools.product(LOSSES, MISTAKES, ("mean", "none")):
        yield from filter(None, [repair(TiedHeadLossCase(call=call, mistake=mistake, reduction=reduction))])


def fixed_cases() -> Iterator[TiedHeadLossCase]:
    """Every call with what is ignored, weighted and smoothed at once; logits whose exponentials overflow; so many tokens
    that half precision can't hold their number; every mistake."""
    return filter(None, map(repair, _landmarks()))


def _landmarks() -> Iterator[TiedHeadLossCase]:
    for seed, (call, reduction) in enumerate(itertools.product(LOSSES, ("mean", "sum", "none"))):
        base = TiedHeadLossCase(5, 3, (7,), call, "index", reduction, "some", IGNORE[1 + seed % 2], True, seed=seed)
        yield from (base, base.but(label_smoothing=0.25, bias=True), base.but(scale=4, weighted=False))
        yield TiedHeadLossCase(4, 2, (5,), call, "probability", reduction, weighted=True, seed=seed)
    for call in LOSSES:
        yield TiedHeadLossCase(33, 6, (17,), call, label_smoothing=0.25, scale=4, dtype="float16", seed=9)
    for call, dtype in itertools.product(LOSSES, ("float16", "bfloat16")):
        yield TiedHeadLossCase(2, 1, (70000,), call, dtype=dtype)
    for call, mistake in itertools.product(("cross_entropy", "likelihood", "chunked"), MISTAKES):
        yield TiedHeadLossCase(call=call, mistake=mistake)


_FLAGS = ("call", "reduction", "targets", "ignored")
SPACE = Space(TiedHeadLossCase, AXES, repair, scope, fixed_cases, _FLAGS, strength=2)
