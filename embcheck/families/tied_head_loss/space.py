"""Which cases of tied_head_loss there are, and which program runs each."""

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.core.axes import values_of
from embcheck.core.law import Plan
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space, covering
from embcheck.core.stream import COLUMNS, ROWS, Stream, shaped
from embcheck.families.tied_head_loss.cases import IGNORE, IGNORED, MANY, MISTAKES, TiedHeadLossCase
from embcheck.families.tied_head_loss.programs import LOSSES, OTHERWISE, RECEIVED, in_parallel, predicted

#: Those that take neither distributions nor label smoothing.
LIKELIHOODS = ("likelihood", "in_pieces", "widened")


def plan(case: TiedHeadLossCase) -> Plan:
    options = {
        "loss": (OTHERWISE if case.otherwise else LOSSES)[case.call],
        "context": in_parallel if case.call == "in_pieces" else torch.enable_grad,
        "receive": RECEIVED[case.received],
        "asked": (case.earlier, case.learned, case.twice),
        "padding_idx": case.padding_idx,
        "flags": {**case.flags(), "second": case.classes_second},
    }
    return Plan(predicted, case.inputs(), options)


_SIMPLE = {"targets": "index", "ignored": "nothing", "ignore": "default", "shape": (3,), "weighted": False}
_RULES: tuple[Rule, ...] = (
    (lambda c: c.call in LIKELIHOODS, {"targets": "index", "label_smoothing": 0.0}),
    (lambda c: c.call == "divergence" and c.mistake is not None, {"call": "cross_entropy"}),
    (lambda c: c.call == "divergence", {"targets": "probability", "label_smoothing": 0.0, "weighted": False}),
    (lambda c: c.mistake is not None, _SIMPLE | {"label_smoothing": 0.0, "earlier": 0}),
    (
        lambda c: c.call not in ("cross_entropy", "likelihood", "divergence"),
        {"received": "made", "classes_second": False, "earlier": 0},
    ),
    (lambda c: len(c.shape) < 2 or c.call == "divergence", {"classes_second": False}),
    (lambda c: c.targets == "probability", {"ignored": "nothing", "ignore": "default"}),
    (lambda c: not c.exact, {"scale": 1}),
    (lambda c: c.numel > MANY, {"reduction": "mean", "layout": "contiguous"}),
    # nll_loss of an image in another order of axes has no gradient: RuntimeError, grad_input must be contiguous.
    (lambda c: c.call == "likelihood" and len(c.shape) > 2 and c.received == "transposed", {"received": "made"}),
    # So many terms of eight bits have no bound.
    (
        lambda c: c.dtype == "bfloat16" and any(200 < many <= MANY for many in (c.num_embeddings, c.numel)),
        {"dtype": "float32"},
    ),
    (lambda c: c.wide and c.targets == "probability" and c.dtype in ("bfloat16", "float16"), {"dtype": "float32"}),
    (lambda c: c.empty and c.kept.any(), {"weighted": False}),
)


def repair(case: TiedHeadLossCase) -> TiedHeadLossCase | None:
    if case.call in LIKELIHOODS and case.mistake == "smoothing_above_one":
        return None
    padding = None if case.padding_idx is None else case.padding_idx % case.num_embeddings
    return fitted(case.but(padding_idx=padding), _RULES)


AXES = values_of(TiedHeadLossCase)


def scope() -> Iterator[TiedHeadLossCase]:
    """Every call with every reduction, choice of targets and flags; every mistake."""
    flags = itertools.product(IGNORED, (False, True), (0.0, 0.25))
    chosen = itertools.product(LOSSES, ("mean", "sum", "none"), ("index", "probability"), flags)
    cases = []
    for seed, (call, reduction, targets, (ignored, weighted, smoothing)) in enumerate(chosen):
        case = TiedHeadLossCase(
            AXES["num_embeddings"][seed % 2], 2, AXES["shape"][seed % 4 and seed % 5], call, targets, reduction, ignored,
            IGNORE[seed % 3], weighted, smoothing, bool(seed % 2), padding_idx=(None, 0, -1)[seed % 3],
            dtype=AXES["dtype"][seed // 3 % 4], seed=seed,
        )  # fmt: skip
        cases.append(repair(case))
    yield from filter(None, dict.fromkeys(cases))
    for call, mistake, reduction in itertools.product(LOSSES, MISTAKES, ("mean", "none")):
        yield from filter(None, [repair(TiedHeadLossCase(call=call, mistake=mistake, reduction=reduction))])


def fixed_cases() -> Iterator[TiedHeadLossCase]:
    """Every call with what is ignored, weighted and smoothed at once; logits whose exponentials overflow; so many tokens
    that half precision can't hold their number; every mistake."""
    for seed, (call, reduction) in enumerate(itertools.product(LOSSES, ("mean", "sum", "none"))):
        base = TiedHeadLossCase(5, 3, (7,), call, "index", reduction, "some", IGNORE[1 + seed % 2], True, seed=seed)
        if call == "chunked":  # of fewer tokens than classes it takes their weights in another order
            yield base.but(num_embeddings=9, ignore="default", seed=4 * seed)  # the first class counts
        yield from (base, base.but(label_smoothing=0.25, bias=True), base.but(scale=4, weighted=False))
        yield TiedHeadLossCase(4, 2, (5,), call, "probability", reduction, weighted=True, seed=seed)
    for call in LOSSES:
        yield TiedHeadLossCase(33, 6, (17,), call, label_smoothing=0.25, scale=4, dtype="float16", seed=9)
        yield TiedHeadLossCase(1030, 2, (3,), call, scale=4)
    for call, dtype in itertools.product(LOSSES, ("float16", "bfloat16")):
        yield TiedHeadLossCase(2, 1, (70000,), call, dtype=dtype)
    for call, dtype in itertools.product(LOSSES, ("float32", "bfloat16", "float16")):
        classes = 33000 if dtype == "float16" else 70000  # of more the ledger knows that float16 is wrong
        yield TiedHeadLossCase(classes, 1, (3,), call, dtype=dtype)
    for call, mistake in itertools.product(("cross_entropy", "likelihood", "chunked"), MISTAKES):
        yield TiedHeadLossCase(call=call, mistake=mistake)
    yield TiedHeadLossCase(5, 3, (2, 3), ignored="some", ignore=IGNORE[1], weighted=True, classes_second=True)
    yield TiedHeadLossCase(2050, 2, (2, 3), classes_second=True)
    yield TiedHeadLossCase(5, 0, (3,), bias=True)
    yield from _covering()
    for seed, call in enumerate(name for name in LOSSES if name != "divergence"):
        ignored, dtype = IGNORED[seed % 2], AXES["dtype"][seed % 4]
        yield TiedHeadLossCase(7, 3, (2, 2), call, ignored=ignored, bias=True, dtype=dtype, seed=4 * seed + 2)  # masked
    for seed, (call, smoothing) in enumerate(itertools.product(OTHERWISE, (0.0, 0.25))):
        axes = {"label_smoothing": smoothing, "bias": not seed % 2, "reduction": AXES["reduction"][seed % 3]}
        yield TiedHeadLossCase(3, 2, (8,), call, **axes, weighted=True, seed=4 * seed + 1)
    yield TiedHeadLossCase(200, 2, (7,), seed=3)  # bytes


#: Of what the two losses of logits are given any two of these meet, and of three most do.
COVERED: dict[str, tuple[Any, ...]] = {
    "call": ("cross_entropy", "likelihood"), "rank": (1, 2, 3), "rows": ROWS, "columns": COLUMNS,
    "size": ("some", "some", "many", "none"), "dtype": AXES["dtype"], "received": tuple(RECEIVED), "earlier": (0, 1, 2, 3),
    "reduction": AXES["reduction"], "weighted": (False, True), "ignore": IGNORE, "label_smoothing": (0.0, 0.25),
    "targets": ("index", "index", "probability"), "bias": (False, True),
}  # fmt: skip


def _covering() -> Iterator[TiedHeadLossCase]:
    """Logits, of so many rows and columns, some numbers of them or more than a thousand or none."""
    for seed, chosen in enumerate(covering(COVERED, 2, 1, extra_rows=8)):
        rank, rows, columns, size = (chosen.pop(name) for name in ("rank", "rows", "columns", "size"))
        length = {"some": 1, "many": 1024 // (rows * columns) + 1, "none": 0}[size]
        shape: tuple[int, ...]
        if rank == 1:
            classes, shape = 1024 * (size == "many") + columns, ()
        elif rank == 2:
            wide = size == "many" and seed % 2
            classes, shape = columns * (length if wide else 1), (rows if wide else rows * length,)
        else:
            # Of one image the losses are a matrix, too.
            classes, shape = max(2, length), (rows, *[2] * (rows == seed % 2), columns if length else 0)
        ignored = ("nothing", "some")[seed % 2]
        yield TiedHeadLossCase(classes, 2, shape, **chosen, ignored=ignored, classes_second=True, seed=seed)


def draw(draws: Stream) -> TiedHeadLossCase | None:
    """A random case; more often of the two losses of logits, and of logits of any shape."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    if not draws.chance(3):
        *lengths, columns = shaped(draws)
        rows, classes = (lengths[:1], columns) if len(lengths) < 2 else ([lengths[0], columns], lengths[1])
        chosen |= {"shape": tuple(rows), "num_embeddings": max(1, classes), "classes_second": True}
        chosen |= {
            "call": draws.choice(COVERED["call"]),
            "embedding_dim": 2,
            "label_smoothing": draws.choice((0.0, 0.25)),
        }
    return repair(TiedHeadLossCase(**chosen, seed=draws.between(0, 255)))


_FLAGS = ("call", "reduction", "targets", "ignored")
SPACE = Space(TiedHeadLossCase, AXES, repair, scope, fixed_cases, _FLAGS, draw=draw, strength=2)
