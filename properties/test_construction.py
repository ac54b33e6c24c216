"""Construction: how a table is made and filled, what its padding row holds then, and what moves it afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import described, every, identical, is_false, is_true, refuses, same, unwritten
from embcheck.construction.case import (
    ConstructionCase,
)
from embcheck.construction.misuse import FATAL, WRONG, refused
from embcheck.construction.program import ACTS, CASTS, DRAWN, FREEZING, GIVEN, MAKES, constructed
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.lookup.table import padding_of
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, UNASKED, Difference, Finding
from embcheck.space import Space

# -- how a table is made -------------------------------------------------------------------------------------------


def plan(case: ConstructionCase) -> Plan:
    if case.wrong is not None:
        return Plan(refused, {"weight": case.weight_input}, {"attempt": WRONG[case.wrong][0], "flags": case.flags})
    options = {
        "make": MAKES[case.make],
        "act": ACTS[case.act],
        "rows": case.num_embeddings,
        "width": case.embedding_dim,
        "flags": case.flags,
        "dtype": case.dtype,
        "seed": case.seed,
    }
    return Plan(constructed, {"weight": case.weight_input}, options)


def canonical(case: ConstructionCase) -> ConstructionCase | None:
    """The case with padding, make and act that fit each other."""
    changes: dict[str, Any] = {"padding_idx": padding_of(case.padding_idx, case.num_embeddings)}
    if case.wrong is not None:
        changes |= {"padding_idx": None, "make": "keyword", "act": "nothing", "max_norm": None}
        changes |= {"num_embeddings": max(case.num_embeddings, 1), "embedding_dim": max(case.embedding_dim, 1)}
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.make == "meta" and case.act not in ("nothing", "evaluated"):
        changes["act"] = "nothing"  # there is nothing to read or fill
    if case.act in CASTS and case.values == "special":
        changes["values"] = "real"  # how a NaN is rounded is nobody's promise
    return case.but(**changes)


def scope() -> Iterator[ConstructionCase]:
    """Every size, padding, make and act; every wrong call."""
    sizes = itertools.product(range(5), range(4))
    for seed, ((rows, width), make) in enumerate(itertools.product(sizes, MAKES)):
        for padding in (None, *range(-rows, rows)):
            act = tuple(ACTS)[seed % len(ACTS)]
            yield from _fitted(ConstructionCase(rows, width, padding, make=make, act=act, seed=seed))
    for make, act, padding, dtype in itertools.product(MAKES, ACTS, (None, 0, -1, 2), FORMATS):
        yield from _fitted(ConstructionCase(3, 2, padding, make=make, act=act, dtype=dtype, values="special"))
    for wrong, (k, dtype), (n, layout) in itertools.product(WRONG, enumerate(FORMATS), enumerate(LAYOUTS[:6])):
        flags = {"scale_grad_by_freq": k % 2 == 1, "sparse": n % 2 == 1, "norm_type": (2.0, 1.0)[n // 2 % 2]}
        yield from _fitted(ConstructionCase(wrong=wrong, dtype=dtype, layout=layout, **flags))


def _fitted(case: ConstructionCase) -> Iterator[ConstructionCase]:
    found = canonical(case)
    if found is not None:
        yield found


def landmarks() -> Iterator[ConstructionCase]:
    """What the obligations ask for, in every profile."""
    for wrong in WRONG:
        yield ConstructionCase(wrong=wrong)
        yield ConstructionCase(wrong=wrong, sparse=True)
    for make, padding in itertools.product(MAKES, (None, 0, 2, -3)):
        yield ConstructionCase(3, 2, padding, make=make, act="reset" if padding == 2 else "nothing")
        yield ConstructionCase(129, 17, padding, 0.0, 1.0, True, True, make=make, layout="transposed", values="special")
    for make, act in itertools.product(MAKES, ACTS):
        yield ConstructionCase(4, 3, 1, make=make, act=act, values="real")
        yield ConstructionCase(4, 3, None, make=make, act=act, values="special", dtype="float16")


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 0, 8, 33),
    "embedding_dim": (2, 1, 3, 0, 17),
    "padding_idx": (None, 0, 1, -1, -2, "last", "-V"),
    "max_norm": (None, 0.0, 1.0, 2.5),
    "norm_type": (2.0, 1.0, 0.0, 3.0, float("inf")),
    "scale_grad_by_freq": (False, True),
    "sparse": (False, True),
    "make": tuple(MAKES),
    "act": tuple(ACTS),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "values": ("fingerprint", "small", "real", "special"),
}

construction = Family(
    "construction",
    Space(
        ConstructionCase, AXES, canonical, scope, landmarks, flags=("make", "act", "padding_idx", "sparse"), strength=2
    ),
    plan,
    refused=lambda case: case.wrong is not None,
    cost=4.0,
    stride=2,
)


def is_given(case: ConstructionCase) -> bool:
    """Whether the table is given, not drawn."""
    return case.make in GIVEN


def is_drawn(case: ConstructionCase) -> bool:
    """Whether first values are drawn that can be read."""
    return case.make in DRAWN and case.make != "meta"


def acts(*names: str) -> Any:
    """The condition that this is done to a table that can be read."""
    return lambda case: case.act in names and case.make != "meta"


@construction.law(
    "The weight is a Parameter of shape (num_embeddings, embedding_dim), of the dtype and device asked for.",
    source="nn.Embedding: Variables; device, dtype",
    obliges={"num_embeddings=0", "embedding_dim=0", "dtype=float16", "make=meta", "make=positional"},
)
def table_is_a_parameter(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        is_true(out.parameter, "the weight is no Parameter"),
        is_false(out.graded, "a new table has a gradient"),
        described(
            out.weight,
            shape=(case.num_embeddings, case.embedding_dim),
            dtype=CASTS.get(case.act, case.dtype),
            device="meta" if case.make == "meta" else "cpu",
            is_leaf=True,
            layout="strided",
        ),
    )


@construction.law(
    "The weight requires grad unless the table is frozen; from_pretrained freezes by default.",
    source="nn.Embedding.from_pretrained: freeze",
    obliges={"make=pretrained", "make=pretrained_trainable", "make=frozen", "make=keyword"},
)
def table_is_trainable_unless_frozen(case: ConstructionCase, out: Outcome) -> Finding:
    return described(out.weight, requires_grad=case.make not in FREEZING)


@construction.law(
    "The module keeps each argument as its attribute, padding_idx counted from the front.",
    source="nn.Embedding: arguments; from_pretrained: see module initialization documentation",
    obliges={"padded", "negative_padding", "first_row_padded", "max_norm=0", "norm_type=1", "sparse",
             "scale_grad_by_freq", "make=positional", "make=pretrained_positional"},
)  # fmt: skip
def arguments_become_attributes(case: ConstructionCase, out: Outcome) -> Finding:
    return same(out.flags, case.attributes)


@construction.law(
    "The repr tells the sizes and exactly the flags that differ from their defaults.",
    source="nn.Embedding.extra_repr",
    obliges={"first_row_padded", "max_norm=0", "sparse"},
)
def repr_tells_the_flags(case: ConstructionCase, out: Outcome) -> Finding:
    return same(out.repr, case.told)


@construction.law(
    "There is one parameter, weight, one entry of state_dict, no buffer or child; a new module trains.",
    source="nn.Embedding: Variables; nn.Module.training",
)
def table_is_all_there_is(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        same(out.names, ["weight"]),
        same(out.state, ["weight"]),
        same(out.buffers, 0),
        is_true(out.training, "the module is not in training mode"),
        is_true(out.kept, "grad mode, default dtype, threads or determinism changed"),
    )


@construction.law(
    "In a table that draws its values exactly the padding row is zero, at first and after reset_parameters.",
    source="nn.Embedding: padding_idx will default to all zeros; Variables: initialized from N(0, 1)",
    when=lambda case: is_drawn(case) and case.act in ("nothing", "reset", "saved", "evaluated"),
    obliges={"padded", "negative_padding", "first_row_padded", "act=reset", "make=meta_emptied", "make=skipped"},
)
def padding_row_is_zero_at_first(case: ConstructionCase, out: Outcome) -> Finding:
    return zero_but_for_padding(case, out.values)


def zero_but_for_padding(case: ConstructionCase, values: Any) -> Finding:
    """The padding row is +0; each other row was drawn: not all of it is 0 or 7, with probability 1 − 2^-20 or more."""
    found = values.values
    row = case.padding_row
    if row is not None:
        zero = identical(values[row], np.zeros(case.embedding_dim, case.format.bits))
        if isinstance(zero, Difference):
            return zero
    for other in range(case.num_embeddings):
        if other != row and case.embedding_dim and np.isin(found[other], (0.0, 7.0)).all():
            path = f"{values.path}[{other}].any().item()"
            return Difference("undrawn", path, False, True, f"row {other} was not drawn")
    return HOLDS


@construction.law(
    "Seeded alike, two tables are equal and in memory of their own; the next one differs, since numbers were drawn.",
    source="torch.manual_seed",
    when=is_drawn,
    obliges={"make=skipped", "make=without_grad"},
)
def tables_are_reproducible(case: ConstructionCase, out: Outcome) -> Finding:
    drawn = case.embedding_dim * (case.num_embeddings - (case.padding_idx is not None)) > 4
    return every(
        identical(out.again, out.first),
        is_true(out.apart, "two modules share their memory"),
        is_true(out.differs, "two tables drawn one after the other are equal") if drawn else UNASKED,
        is_true(out.drew, "no random number was drawn") if drawn else UNASKED,
    )


@construction.law(
    "A table's elements are drawn once, as torch.nn.init.normal_ draws them: no flag moves them, but for the padding row.",
    source="nn.Embedding.reset_parameters: init.normal_, then the padding row is filled with zero",
    when=lambda case: is_drawn(case) and case.make != "meta",
    obliges={"padded", "scale_grad_by_freq", "sparse", "max_norm=0", "make=skipped"},
)
def tables_are_drawn_once(case: ConstructionCase, out: Outcome) -> Finding:
    others = np.arange(case.num_embeddings) != (-1 if case.padding_row is None else case.padding_row)
    return every(
        is_true(out.once, "making the table draws other random numbers than filling it"),
        identical(out.first[others], out.plain[others]),
    )


@construction.law(
    "A table that is given is used as it is: the same memory and bits, the padding row too, and nothing is drawn.",
    source="nn.Embedding.from_pretrained; _weight",
    when=lambda case: is_given(case) and case.act in ("nothing", "saved", "evaluated"),
    obliges={"padded", "values=special", "make=given", "make=pretrained", "dtype=float16"},
)
def given_table_is_used_as_it_is(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.values, case.format.to_bits(case.table.weight_stored)),
        is_true(out.shares, "the table is a copy of the one that was given")
        if case.table.weight_stored.size
        else UNASKED,
        is_false(out.drew, "random numbers were drawn for a table that was given"),
        is_true(out.source_kept, "the tensor that was given learns otherwise than before"),
        unwritten(out),
    )


@construction.law(
    "reset_parameters fills the same Parameter, whose gradient, memory and requires_grad stay.",
    source="nn.Embedding.reset_parameters",
    when=acts("reset"),
)
def reset_keeps_the_parameter(case: ConstructionCase, out: Outcome) -> Finding:
    same_one = is_true(out.same, "reset_parameters made another Parameter, or changed what it learns")
    return every(same_one, zero_but_for_padding(case, out.values))


@construction.law(
    "load_state_dict copies every bit, keeps the Parameter (unless assign=True), and tells what is missing or unknown.",
    source="nn.Module.load_state_dict",
    when=acts("loaded", "loaded_loosely", "loaded_by_assignment"),
    obliges={"values=special", "dtype=float16", "padded", "act=loaded_by_assignment"},
)
def loading_copies_every_bit(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.values, case.format.to_bits(case.table.weight_stored)),
        is_true(out.same, "loading made another Parameter or memory"),
        same(out.keys, [["weight"], ["bias"]] if case.act == "loaded_loosely" else [[], []]),
    )


@construction.law(
    "state_dict holds the weight itself, detached.",
    source="nn.Module.state_dict: a reference to the values",
    when=acts("saved"),
    obliges={"values=special"},
)
def state_dict_holds_the_weight(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.saved, out.values),
        is_true(out.aliases, "state_dict holds a copy"),
        is_true(out.detached, "state_dict holds a part of a graph"),
    )


@construction.law(
    "eval() and train(mode) set the mode and return the module.", source="nn.Module.train", when=acts("evaluated")
)
def modes_are_set(case: ConstructionCase, out: Outcome) -> Finding:
    return same(out.modes, [True, False, True, False])


@construction.law(
    "to(dtype) rounds every element to nearest, ties to even; from float64 to half precision it may do so by way of float32.",
    source="torch.Tensor.to; IEEE 754; no document promises that a conversion rounds once",
    when=acts(*CASTS),
    obliges={"values=real", "act=halved", "act=shortened", "act=widened"},
)
def conversion_rounds_to_nearest(case: ConstructionCase, out: Outcome) -> Finding:
    fmt, single = FORMATS[CASTS[case.act]], FORMATS["float32"]
    due = fmt.to_bits(fmt.encode(out.first.values))
    if case.dtype == "float64" and case.act in ("halved", "shortened"):
        twice = fmt.to_bits(fmt.encode(single.decode(single.encode(out.first.values))))
        due = np.where(out.values.bits == twice, twice, due)
    return identical(out.values, due)


@construction.law(
    "A wrong padding_idx, shape, rank, keyword, size or index dtype is refused, and nothing is written.",
    source="nn.Embedding; F.embedding: weight must be 2-D, input LongTensor; nn.Module.load_state_dict: strict",
    obliges={f"wrong={name}" for name in WRONG.keys() - FATAL},
    refusal=True,
)
def wrong_calls_are_refused(case: ConstructionCase, out: Outcome) -> Finding:
    assert case.wrong is not None
    return every(refuses(out, *WRONG[case.wrong][1]), unwritten(out))


test_scope, test_product, test_random = construction.tests()
