"""Construction: how nn.Embedding and nn.EmbeddingBag are made and filled, and what their padding row holds then."""

from typing import Any

import numpy as np

from embcheck.core.comparison import (
    described,
    every,
    identical,
    is_false,
    is_true,
    left_alone,
    refuses,
    same,
    same_strides,
    unwritten,
)
from embcheck.core.format import FORMATS
from embcheck.core.law import Family
from embcheck.core.layout import preserved_strides, view_of
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, UNASKED, Difference, Finding
from embcheck.families.construction.cases import SPACE, ConstructionCase, plan
from embcheck.families.construction.invalid_calls import FATAL, WRONG
from embcheck.families.construction.programs import CASTS, DRAWN, FREEZING, GIVEN

# -- how a table is made -------------------------------------------------------------------------------------------


construction = Family("construction", SPACE, plan, refused=lambda case: case.wrong is not None, cost=4.0, stride=2)


def is_given(case: ConstructionCase) -> bool:
    return case.make in GIVEN


def is_drawn(case: ConstructionCase) -> bool:
    return case.make in DRAWN and case.make != "meta"


def acts(*names: str) -> Any:
    """The condition that this is done to a table that can be read."""
    return lambda case: case.act in names and case.make != "meta"


@construction.law(
    "The weight is a Parameter of shape (num_embeddings, embedding_dim) with the requested dtype and device.",
    source="nn.Embedding: Variables; device, dtype",
    must_cover={"num_embeddings=0", "embedding_dim=0", "dtype=float16", "make=meta", "make=positional"},
)
def embedding_weight_is_a_parameter(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        is_true(out.parameter, "the weight is no Parameter"),
        is_false(out.graded, "a new table has a gradient"),
        described(
            out.weight,
            shape=(case.num_embeddings, case.embedding_dim),
            dtype=CASTS.get(case.act, case.dtype),
            device="meta" if case.make == "meta" else out.device,
            is_leaf=True,
            layout="strided",
        ),
    )


@construction.law(
    "The weight requires grad unless frozen; from_pretrained freezes it by default.",
    source="nn.Embedding.from_pretrained: freeze",
    must_cover={"make=pretrained", "make=pretrained_trainable", "make=frozen", "make=keyword"},
)
def embedding_requires_grad_unless_frozen(case: ConstructionCase, out: Outcome) -> Finding:
    return described(out.weight, requires_grad=case.make not in FREEZING)


@construction.law(
    "The module and its copies have its table and its arguments, with a negative padding_idx counted from the front.",
    source="nn.Embedding, nn.EmbeddingBag: arguments; from_pretrained: see module initialization documentation; copy.deepcopy",
    must_cover={"padded", "negative_padding", "first_row_padded", "max_norm=0", "norm_type=1", "sparse", "kind=EmbeddingBag",
             "scale_grad_by_freq", "make=positional", "make=pretrained_positional", "mode=sum", "mode=max",
             "include_last_offset"},
)  # fmt: skip
def embedding_stores_its_arguments(case: ConstructionCase, out: Outcome) -> Finding:
    shape = (case.num_embeddings, case.embedding_dim)
    made = [case.attributes, case.make not in FREEZING, case.dtype, True, True, shape]
    return every(
        same(out.flags, case.attributes),
        same(out.made, [made] * 6),
        is_true(out.copied, "a copy of the module has another table"),
    )


@construction.law(
    "A weight that is drawn is contiguous, one that is given keeps its strides, and so do their copies.",
    source="torch.Tensor.stride; nn.Embedding.from_pretrained: embeddings; _weight; nn.Parameter.__deepcopy__; pickle",
    must_cover={"make=keyword", "make=meta_emptied", "make=given & layout=transposed", "make=pretrained & layout=transposed",
             "kind=EmbeddingBag", "embedding_dim=2 & norm_type=1"},
)  # fmt: skip
def embedding_weight_has_its_own_strides(case: ConstructionCase, out: Outcome) -> Finding:
    shape = (case.num_embeddings, case.embedding_dim)
    own = view_of(shape, case.layout if is_given(case) else "contiguous").strides
    dense = preserved_strides(own, shape)
    # The third layer is given the negated table, which lies densely in the same order, as a deep copy does.
    wanted = [own, own, dense, own, dense, dense if case.make == "subclass_pretrained" else own]
    return every(*(same_strides(out.strides.entry(k), shape, strides) for k, strides in enumerate(wanted)))


@construction.law(
    "repr() shows the sizes and exactly the arguments that differ from their defaults.",
    source="nn.Embedding.extra_repr; nn.EmbeddingBag.extra_repr",
    must_cover={"first_row_padded", "max_norm=0", "sparse", "kind=EmbeddingBag", "mode=sum"},
)
def embedding_repr_shows_nondefault_arguments(case: ConstructionCase, out: Outcome) -> Finding:
    return same(out.repr, case.told)


@construction.law(
    "The module has one parameter, weight, no buffer or submodule, and starts in training mode.",
    source="nn.Embedding: Variables; nn.Module.training",
)
def embedding_has_one_parameter(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        same(out.names, ["weight"]),
        same(out.state, ["weight"]),
        same(out.buffers, 0),
        is_true(out.training, "the module is not in training mode"),
        left_alone(out.surroundings),
    )


@construction.law(
    "Construction and reset_parameters() zero the padding row and draw every other row.",
    source="nn.Embedding: padding_idx will default to all zeros; Variables: initialized from N(0, 1)",
    when=lambda case: is_drawn(case) and case.act in ("nothing", "reset", "saved", "evaluated"),
    must_cover={"padded", "negative_padding", "first_row_padded", "act=reset", "make=meta_emptied", "make=skipped"},
)
def embedding_init_zeroes_only_padding_row(case: ConstructionCase, out: Outcome) -> Finding:
    return zero_but_for_padding(case, out.values)


def zero_but_for_padding(case: ConstructionCase, values: Any) -> Finding:
    """The padding row is +0; each other row was drawn: not all of it is 0 or 7, with probability 1 − 2^-20 or more, nor, in
    float64, what float32 holds, with 1 − 2^-50 or more for two numbers."""
    found = values.values
    row = case.padding_row
    if row is not None:
        zero = identical(values[row], np.zeros(case.embedding_dim, case.format.bits))
        if isinstance(zero, Difference):
            return zero
    for other in range(case.num_embeddings):
        if other == row or not case.embedding_dim:
            continue
        if np.isin(found[other], (0.0, 7.0)).all():
            path = f"{values.path}[{other}].any().item()"
            return Difference("undrawn", path, False, True, f"row {other} was not drawn")
        if case.dtype == "float64" and case.embedding_dim > 1 and (found[other] == np.float32(found[other])).all():
            path = f"({values.path}[{other}].float() == {values.path}[{other}]).all().item()"
            return Difference("rounded", path, True, False, f"row {other} has no more digits than float32 holds")
    return HOLDS


@construction.law(
    "The same torch.manual_seed gives equal weights in separate memory; the next weight drawn differs.",
    source="torch.manual_seed",
    when=is_drawn,
    must_cover={"make=skipped", "make=without_grad"},
)
def embedding_init_is_reproducible_by_seed(case: ConstructionCase, out: Outcome) -> Finding:
    drawn = case.embedding_dim * (case.num_embeddings - (case.padding_idx is not None)) > 4
    return every(
        identical(out.again, out.first),
        is_true(out.apart, "two modules share their memory"),
        is_true(out.differs, "two tables drawn one after the other are equal") if drawn else UNASKED,
        is_true(out.drew, "no random number was drawn") if drawn else UNASKED,
    )


@construction.law(
    "The initial weight equals one torch.nn.init.normal_ call, except in the padding row.",
    source="nn.Embedding.reset_parameters: init.normal_, then the padding row is filled with zero",
    when=is_drawn,
    must_cover={"padded", "scale_grad_by_freq", "sparse", "max_norm=0", "make=skipped"},
)
def embedding_init_equals_one_normal_call(case: ConstructionCase, out: Outcome) -> Finding:
    others = np.arange(case.num_embeddings) != (-1 if case.padding_row is None else case.padding_row)
    return every(
        is_true(out.once, "making the table draws other random numbers than filling it"),
        identical(out.first[others], out.plain[others]),
        is_true(out.later, "layers that are made later have other first values than further calls of normal_"),
    )


@construction.law(
    "from_pretrained and _weight use the given tensor's memory unchanged and draw no random numbers.",
    source="nn.Embedding.from_pretrained; _weight",
    when=lambda case: is_given(case) and case.act in ("nothing", "saved", "evaluated"),
    must_cover={"padded", "values=special", "make=given", "make=pretrained", "dtype=float16"},
)
def embedding_uses_given_weight_unchanged(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.values, case.format.to_bits(case.table.weight_stored)),
        is_true(out.shares, "the table is a copy of the one that was given")
        if case.table.weight_stored.size
        else UNASKED,
        is_false(out.drew, "random numbers were drawn for a table that was given"),
        is_true(out.source_kept, "the tensor that was given learns otherwise than before"),
        is_true(out.later, "a layer that is made later has another table than it was given"),
        unwritten(out),
    )


@construction.law(
    "reset_parameters() refills the same Parameter and keeps its .grad, memory and requires_grad.",
    source="nn.Embedding.reset_parameters",
    when=acts("reset"),
)
def reset_parameters_keeps_the_parameter(case: ConstructionCase, out: Outcome) -> Finding:
    same_one = is_true(out.same, "reset_parameters made another Parameter, or changed what it learns")
    return every(same_one, zero_but_for_padding(case, out.values))


@construction.law(
    "load_state_dict copies the weight bit for bit and reports missing and unexpected keys.",
    source="nn.Module.load_state_dict",
    when=acts("loaded", "loaded_by_assignment"),
    must_cover={"values=special", "dtype=float16", "padded", "act=loaded_by_assignment"},
)
def embedding_load_state_dict_copies_bits(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.values, case.format.to_bits(case.table.weight_stored)),
        is_true(out.same, "loading made another Parameter or memory"),
        same(out.keys, [[], []]),
    )


@construction.law(
    "state_dict() holds the weight's own memory, detached from the graph.",
    source="nn.Module.state_dict: a reference to the values",
    when=acts("saved"),
    must_cover={"values=special"},
)
def embedding_state_dict_shares_weight_memory(case: ConstructionCase, out: Outcome) -> Finding:
    return every(
        identical(out.saved, out.values),
        is_true(out.aliases, "state_dict holds a copy"),
        is_true(out.detached, "state_dict holds a part of a graph"),
    )


@construction.law(
    "train(mode) and eval() set module.training and return the module.",
    source="nn.Module.train",
    when=acts("evaluated"),
)
def embedding_train_and_eval_set_training(case: ConstructionCase, out: Outcome) -> Finding:
    return same(out.modes, [True, False, True, False])


@construction.law(
    "Module.to(dtype) rounds every element to nearest, ties to even.",
    source="torch.Tensor.to; IEEE 754: round to nearest, ties to even",
    when=acts(*CASTS),
    must_cover={"values=real", "act=halved", "act=widened"},
)
def embedding_to_dtype_rounds_to_nearest(case: ConstructionCase, out: Outcome) -> Finding:
    fmt, single = FORMATS[CASTS[case.act]], FORMATS["float32"]
    due = fmt.to_bits(fmt.encode(out.first.values))
    if case.dtype == "float64" and case.act == "halved":
        twice = fmt.to_bits(fmt.encode(single.rounded(out.first.values)))
        due = np.where(out.values.bits == twice, twice, due)
    return every(identical(out.values, due), unwritten(out))


@construction.law(
    "An invalid padding_idx, shape, keyword, size or dtype raises, and nothing is modified.",
    source="nn.Embedding; F.embedding: weight must be 2-D, input LongTensor; nn.Module.load_state_dict: strict",
    must_cover={f"wrong={name}" for name in WRONG.keys() - FATAL},
    refusal=True,
)
def invalid_embedding_calls_raise(case: ConstructionCase, out: Outcome) -> Finding:
    assert case.wrong is not None
    return every(refuses(out, *WRONG[case.wrong][1]), unwritten(out))


test_scope, test_product, test_random = construction.tests()
