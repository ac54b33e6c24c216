"""Bag layer: what nn.EmbeddingBag is once it is made: its arguments, its table, and what copies of it are."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from embcheck.bag.layer import ACTS, MAKES, BagLayerCase, describe
from embcheck.comparison import described, every, identical, is_false, is_true, same
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.lookup import table
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space

#: How far in standard deviations a sample's moments may lie from those of N(0, 1): passed by chance once in 10^9.
_DEVIATIONS = 6.2
#: Elements from which the moments are judged.
_SAMPLE = 4096


def plan(case: BagLayerCase) -> Plan:
    options = {"make": MAKES[case.make], "act": ACTS[case.act], "flags": case.flags, "learns": case.seed % 2 == 1}
    return Plan(describe, {"weight": case.weight_input}, options)


def canonical(case: BagLayerCase) -> BagLayerCase | None:
    """The case with a padding_idx that fits its table."""
    rows = case.num_embeddings
    layout = "column_slice" if case.layout == "expanded" else case.layout
    padding = table.padding_of(case.padding_idx, rows)
    act = "nothing" if case.act == "reset" and not case.embedding_dim else case.act
    return case.but(padding_idx=padding, layout=layout, act=act)


def scope() -> Iterator[BagLayerCase]:
    """Every small table with every padding_idx, made in every way; every single flag."""
    for seed, (rows, width, make) in enumerate(itertools.product(range(1, 5), range(4), MAKES)):
        for padding in (None, *range(-rows, rows)):
            yield BagLayerCase(rows, width, make, padding_idx=padding, dtype=tuple(FORMATS)[seed % 4], seed=seed)
    for make, act, mode, dtype in itertools.product(MAKES, ACTS, ("mean", "sum", "max"), FORMATS):
        found = canonical(BagLayerCase(3, 2, make, act, mode, padding_idx=1, dtype=dtype, include_last_offset=True))
        if found is not None:
            yield found
    yield from landmarks()


def landmarks() -> Iterator[BagLayerCase]:
    """Tables whose moments can be judged."""
    for dtype, make, act in itertools.product(FORMATS, ("fresh", "by_keywords", "given"), ("nothing", "reset")):
        for rows, width, padding in ((64, 64, None), (65, 127, -1), (1001, 5, 0)):
            yield BagLayerCase(rows, width, make, act, padding_idx=padding, dtype=dtype)


AXES = {
    "num_embeddings": (3, 1, 2, 5, 17),
    "embedding_dim": (2, 0, 1, 3, 8),
    "make": tuple(MAKES),
    "act": tuple(ACTS),
    "mode": ("mean", "sum", "max"),
    "padding_idx": table.PADDINGS,
    "max_norm": (None, 0.0, 1.0, 2, 0.5),
    "norm_type": (2.0, 1.0, float("inf"), 0.5, 3),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "include_last_offset": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
}

bag_layer = Family(
    "bag_layer",
    Space(BagLayerCase, AXES, canonical, scope, landmarks, flags=("make", "act", "padding_idx", "mode"), strength=2),
    plan,
    cost=3.0,
)


@bag_layer.law(
    "The layer keeps its arguments, with padding_idx counted from the front.",
    source="nn.EmbeddingBag: Args; from_pretrained: see module initialization documentation",
    obliges={"padding_idx=0", "negative_padding", "max_norm=0", "norm_type=inf", "sparse", "scale_grad_by_freq",
             "include_last_offset", "mode=sum", "mode=max", *(f"make={name}" for name in MAKES), *(f"act={name}" for name in ACTS)},
)  # fmt: skip
def bag_layer_keeps_its_arguments(case: BagLayerCase, out: Outcome) -> Finding:
    wanted = {name: getattr(case, name) for name in ("num_embeddings", "embedding_dim", "max_norm", "norm_type",
                                                     "scale_grad_by_freq", "sparse", "include_last_offset")}  # fmt: skip
    return every(
        *(same(getattr(out, name), value) for name, value in wanted.items()),
        same(out.reduction, case.mode),
        same(out.padding_idx, case.padding_row),
        same(out.training, case.act != "evaluated_within"),
    )


@bag_layer.law(
    "The repr tells the sizes, the mode, and which of max_norm, norm_type, scale_grad_by_freq and padding_idx were given.",
    source="nn.EmbeddingBag.extra_repr",
    obliges={"padding_idx=0", "max_norm=0", "norm_type=inf", "scale_grad_by_freq"},
)
def bag_layer_tells_its_flags(case: BagLayerCase, out: Outcome) -> Finding:
    return same(out.repr, case.told)


@bag_layer.law(
    "Its weight is its one Parameter, a leaf of shape (num_embeddings, embedding_dim), and all that is saved.",
    source="nn.EmbeddingBag: Attributes; dtype",
)
def bag_layer_has_one_parameter(case: BagLayerCase, out: Outcome) -> Finding:
    return every(
        is_true(out.is_parameter, "the weight is no Parameter, or no leaf"),
        described(out.weight, shape=(case.num_embeddings, case.embedding_dim), dtype=case.dtype),
        same(out.names, ["weight"]),
        same(out.saved, ["weight"]),
        same(out.buffers, 0),
    )


@bag_layer.law(
    "from_pretrained freezes unless freeze=False; every other layer learns.",
    source="nn.EmbeddingBag.from_pretrained: freeze",
    obliges={"make=pretrained", "make=pretrained_in_order", "make=pretrained_learning", "make=fresh"},
)
def bag_layer_learns_unless_frozen(case: BagLayerCase, out: Outcome) -> Finding:
    return same(out.learns, case.make not in ("pretrained", "pretrained_in_order", "subclass_pretrained"))


@bag_layer.law(
    "The padding row of a table that is drawn is zero, and no other.",
    source="nn.EmbeddingBag: padding_idx: for a newly constructed EmbeddingBag … will default to all zeros",
    obliges={"padded", "negative_padding", "padding_idx=0", "act=reset"},
    when=lambda case: case.drawn and case.embedding_dim > 0,
)
def bag_layer_zeroes_its_padding(case: BagLayerCase, out: Outcome) -> Finding:
    row = case.padding_row
    # Two elements of N(0, 1) are zero at once with probability below 10^-12, in float16 too.
    zeros = np.flatnonzero((out.weight.values == 0).all(1)).tolist() if case.embedding_dim > 1 else []
    found: Finding = HOLDS
    if set(zeros) - {row}:
        path, due = f"({out.weight.path} == 0).all(1).nonzero().flatten().tolist()", [] if row is None else [row]
        found = Difference("zero", path, zeros, due, "a row that is no padding is zero")
    return every(found, UNASKED if row is None else same(out.weight[row], 0))


@bag_layer.law(
    "A table that is given is kept, its padding row too, bit for bit.",
    source="nn.EmbeddingBag.from_pretrained; padding_idx: can be updated to another value",
    obliges={"padded", "act=copied", "act=saved", "act=reloaded"},
    when=lambda case: not case.drawn,
)
def bag_layer_keeps_a_given_table(case: BagLayerCase, out: Outcome) -> Finding:
    return identical(out.weight, case.format.to_bits(case.table_stored))


@bag_layer.law(
    "A table that is given is the parameter's memory; copies and what is drawn have their own.",
    source="nn.EmbeddingBag.from_pretrained; torch.nn.Parameter; copy.deepcopy",
    when=lambda case: case.embedding_dim > 0,
)
def bag_layer_shares_a_given_table(case: BagLayerCase, out: Outcome) -> Finding:
    return same(out.shares, case.make not in ("fresh", "by_keywords") and case.act not in ("copied", "saved"))


@bag_layer.law(
    "The tensor that is given stays what it is: a leaf without a gradient, which learns or doesn't as before.",
    source="nn.EmbeddingBag.from_pretrained: freeze is about the layer's weight; no side effects",
    obliges={"make=pretrained", "make=pretrained_learning", "make=given"},
)
def bag_layer_leaves_its_source(case: BagLayerCase, out: Outcome) -> Finding:
    return is_true(out.source_kept, "the tensor that was given learns otherwise than before")


@bag_layer.law(
    "A table that is drawn has the moments of N(0, 1).",
    source="nn.EmbeddingBag: Attributes: initialized from N(0, 1)",
    obliges={"drawn", "dtype=float16", "dtype=bfloat16", "dtype=float64", "act=reset"},
    when=lambda case: case.drawn and case.num_embeddings * case.embedding_dim >= _SAMPLE,
)
def bag_layer_draws_normal_numbers(case: BagLayerCase, out: Outcome) -> Finding:
    rows = np.delete(out.weight.values, [] if case.padding_row is None else case.padding_row, axis=0)
    sample, n = rows.reshape(-1), rows.size
    within_one = math.erf(math.sqrt(0.5))
    # Rounding to the format moves each element by at most u·|x|.
    u = case.format.unit_roundoff
    moments = {
        "mean": ("{}.mean()", sample.mean(), 0.0, 1.0 + u),
        "mean square": ("({}**2).mean()", (sample**2).mean(), 1.0, math.sqrt(2.0)),
        "mean cube": ("({}**3).mean()", (sample**3).mean(), 0.0, math.sqrt(15.0)),
        "share within ±1": (
            "({}.abs() <= 1).double().mean()",
            (np.abs(sample) <= 1).mean(),
            within_one,
            math.sqrt(within_one * (1 - within_one)),
        ),
    }
    kept = [row for row in range(case.num_embeddings) if row != case.padding_row]
    drawn = f"{out.weight.path}.double()" + ("" if case.padding_row is None else f"[{kept}]")
    for name, (moment, got, wanted, deviation) in moments.items():
        limit = _DEVIATIONS * deviation / math.sqrt(n) + 4 * u
        if abs(got - wanted) > limit:
            words = f"{name} {got:.4g}, expected {wanted:.4g} within {limit:.2g}"
            return Difference(name, f"{moment.replace('{}', drawn)}.item()", float(got), wanted, words, limit)
    return HOLDS


@bag_layer.law(
    "Only a table that is drawn draws random numbers; modes, default dtype and threads stay as they are.",
    source="no side effects",
    when=lambda case: case.make not in ("fresh", "by_keywords"),
)
def bag_layer_draws_nothing_for_a_given_table(case: BagLayerCase, out: Outcome) -> Finding:
    return is_false(
        out.changed, "making the layer changed grad mode, default dtype, threads, determinism or random numbers"
    )


test_scope, test_product, test_random = bag_layer.tests()
