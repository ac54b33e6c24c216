"""Bag layer: what nn.EmbeddingBag is once it is made: its arguments, its table, and what copies of it are."""

from __future__ import annotations

import math

import numpy as np

from embcheck.core.comparison import described, every, identical, is_false, is_true, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding
from embcheck.families.embedding_bag_module.programs import ACTS, MAKES, BagModuleCase
from embcheck.families.embedding_bag_module.space import SPACE, plan

#: How far in standard deviations a sample's moments may lie from those of N(0, 1): passed by chance once in 10^9.
_DEVIATIONS = 6.2
#: Elements from which the moments are judged.
_SAMPLE = 4096


embedding_bag_module = Family(
    "embedding_bag_module",
    SPACE,
    plan,
    cost=3.0,
)


@embedding_bag_module.law(
    "The module stores its arguments as attributes; a negative padding_idx is stored as its non-negative equivalent.",
    source="nn.EmbeddingBag: Args; from_pretrained: see module initialization documentation",
    must_cover={"padding_idx=0", "negative_padding", "max_norm=0", "norm_type=inf", "sparse", "scale_grad_by_freq",
             "include_last_offset", "mode=sum", "mode=max", *(f"make={name}" for name in MAKES), *(f"act={name}" for name in ACTS)},
)  # fmt: skip
def embedding_bag_stores_its_arguments(case: BagModuleCase, out: Outcome) -> Finding:
    wanted = {name: getattr(case, name) for name in ("num_embeddings", "embedding_dim", "max_norm", "norm_type",
                                                     "scale_grad_by_freq", "sparse", "include_last_offset")}  # fmt: skip
    return every(
        *(same(getattr(out, name), value) for name, value in wanted.items()),
        same(out.reduction, case.mode),
        same(out.padding_idx, case.padding_row),
        same(out.training, case.act != "evaluated_within"),
    )


@embedding_bag_module.law(
    "The repr shows the sizes, the mode and the non-default arguments that extra_repr documents.",
    source="nn.EmbeddingBag.extra_repr",
    must_cover={"padding_idx=0", "max_norm=0", "norm_type=inf", "scale_grad_by_freq"},
)
def embedding_bag_repr_shows_nondefault_arguments(case: BagModuleCase, out: Outcome) -> Finding:
    return same(out.repr, case.told)


@embedding_bag_module.law(
    "The weight is the only Parameter and state_dict entry, with shape (num_embeddings, embedding_dim).",
    source="nn.EmbeddingBag: Attributes; dtype",
)
def embedding_bag_has_one_parameter(case: BagModuleCase, out: Outcome) -> Finding:
    return every(
        is_true(out.is_parameter, "the weight is no Parameter, or no leaf"),
        described(out.weight, shape=(case.num_embeddings, case.embedding_dim), dtype=case.dtype),
        same(out.names, ["weight"]),
        same(out.saved, ["weight"]),
        same(out.buffers, 0),
    )


@embedding_bag_module.law(
    "The weight requires grad unless from_pretrained made it with freeze=True.",
    source="nn.EmbeddingBag.from_pretrained: freeze",
    must_cover={"make=pretrained", "make=pretrained_in_order", "make=pretrained_learning", "make=fresh"},
)
def embedding_bag_requires_grad_unless_frozen(case: BagModuleCase, out: Outcome) -> Finding:
    return same(out.learns, case.make not in ("pretrained", "pretrained_in_order", "subclass_pretrained"))


@embedding_bag_module.law(
    "Default initialization sets the padding row, and no other row, to zero.",
    source="nn.EmbeddingBag: padding_idx: for a newly constructed EmbeddingBag … will default to all zeros",
    must_cover={"padded", "negative_padding", "padding_idx=0", "act=reset"},
    when=lambda case: case.drawn and case.embedding_dim > 0,
)
def embedding_bag_init_zeroes_only_padding_row(case: BagModuleCase, out: Outcome) -> Finding:
    row = case.padding_row
    # Two elements of N(0, 1) are zero at once with probability below 10^-12, in float16 too.
    zeros = np.flatnonzero((out.weight.values == 0).all(1)).tolist() if case.embedding_dim > 1 else []
    found: Finding = HOLDS
    if set(zeros) - {row}:
        path, due = f"({out.weight.path} == 0).all(1).nonzero().flatten().tolist()", [] if row is None else [row]
        found = Difference("zero", path, zeros, due, "a row that is no padding is zero")
    return every(found, UNASKED if row is None else same(out.weight[row], 0))


@embedding_bag_module.law(
    "A given weight keeps its values bit for bit, including the padding row.",
    source="nn.EmbeddingBag.from_pretrained; padding_idx: can be updated to another value",
    must_cover={"padded", "act=copied", "act=saved", "act=reloaded"},
    when=lambda case: not case.drawn,
)
def embedding_bag_uses_given_weight_unchanged(case: BagModuleCase, out: Outcome) -> Finding:
    return identical(out.weight, case.format.to_bits(case.table_stored))


@embedding_bag_module.law(
    "The weight shares a given tensor's memory; a deepcopy or torch.load of the module does not.",
    source="nn.EmbeddingBag.from_pretrained; torch.nn.Parameter; copy.deepcopy",
    when=lambda case: case.embedding_dim > 0,
)
def embedding_bag_shares_given_weight_memory(case: BagModuleCase, out: Outcome) -> Finding:
    return same(out.shares, case.make not in ("fresh", "by_keywords") and case.act not in ("copied", "saved"))


@embedding_bag_module.law(
    "Construction leaves the given tensor a leaf, with unchanged requires_grad and no .grad.",
    source="nn.EmbeddingBag.from_pretrained: freeze is about the layer's weight; no side effects",
    must_cover={"make=pretrained", "make=pretrained_learning", "make=given"},
)
def embedding_bag_does_not_change_given_tensor(case: BagModuleCase, out: Outcome) -> Finding:
    return is_true(out.source_kept, "the tensor that was given learns otherwise than before")


@embedding_bag_module.law(
    "The moments of a default-initialized weight match those of N(0, 1).",
    source="nn.EmbeddingBag: Attributes: initialized from N(0, 1)",
    must_cover={"drawn", "dtype=float16", "dtype=bfloat16", "dtype=float64", "act=reset"},
    when=lambda case: case.drawn and case.num_embeddings * case.embedding_dim >= _SAMPLE,
)
def embedding_bag_init_moments_are_normal(case: BagModuleCase, out: Outcome) -> Finding:
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


@embedding_bag_module.law(
    "Construction from a given weight draws no random numbers and changes no global state.",
    source="no side effects",
    when=lambda case: case.make not in ("fresh", "by_keywords"),
)
def embedding_bag_given_weight_preserves_global_state(case: BagModuleCase, out: Outcome) -> Finding:
    return is_false(
        out.changed, "making the layer changed grad mode, default dtype, threads, determinism or random numbers"
    )


test_scope, test_product, test_random = embedding_bag_module.tests()
