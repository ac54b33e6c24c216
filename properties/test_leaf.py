"""Leaf: a Parameter of a tensor is a leaf over its memory, and a module takes it as it is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import every, identical, is_false, is_true, refuses, same, unwritten
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.life.tie import dense
from embcheck.module.leaf import leafed
from embcheck.module.leaf_case import SHAPES, LeafCase
from embcheck.module.leaf_making import MAKINGS, ORIGINS, OWNERS, PLACES, UNDER
from embcheck.module.leaf_wrong import WRONG, wrongly
from embcheck.outcome import Field, Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space


def plan(case: LeafCase) -> Plan:
    fed = case.inputs()
    if case.wrong is not None:
        return Plan(wrongly, {"data": fed["data"]}, {"attempt": WRONG[case.wrong][0]})
    options = {
        "origin": ORIGINS[case.origin],
        "make": MAKINGS[case.make],
        "under": UNDER[case.under],
        "place": PLACES[case.place],
        "owner": OWNERS[case.owner],
        "requires_grad": case.requires_grad,
        "slot": case.slot,
        "slot_before": case.before,
        "evaluating": case.evaluating,
        "times": case.times,
    }
    return Plan(leafed, fed, options)


def canonical(case: LeafCase) -> LeafCase | None:
    """The case; what is attempted wrongly has simple axes otherwise."""
    if case.wrong is not None:
        return LeafCase(case.shape, dtype=case.dtype, layout=case.layout, wrong=case.wrong)
    if case.before in OTHERS and case.place in ("registered", "in_the_dict"):
        return case.but(place="assigned")  # what is there already is refused, or hides what is put into the dictionary
    return case


#: What else than a Parameter may have had the slot's name.
OTHERS = ("a_module", "a_buffer", "a_number")
AXES: dict[str, tuple[Any, ...]] = {
    "shape": SHAPES,
    "origin": tuple(ORIGINS),
    "make": tuple(MAKINGS),
    "requires_grad": (True, False),
    "under": tuple(UNDER),
    "times": (1, 2, 3, 5),
    "place": tuple(PLACES),
    "owner": tuple(OWNERS),
    "slot": ("weight", "bias", "embeddings"),
    "before": ("none", "alike", "double", "frozen", "other_shape", "absent", "a_module", "a_buffer", "a_number"),
    "evaluating": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "values": ("small", "special"),
}


def scope() -> Iterator[LeafCase]:
    """Every shape in every layout and dtype of every origin; every place; everything that must be refused."""
    origins = tuple(ORIGINS)
    for seed, (shape, layout, dtype) in enumerate(itertools.product(SHAPES, LAYOUTS, FORMATS)):
        yield LeafCase(
            shape, origins[seed % len(origins)], dtype=dtype, layout=layout, requires_grad=bool(seed % 3), seed=seed
        )
    for seed, (origin, make, under, grad) in enumerate(itertools.product(ORIGINS, MAKINGS, UNDER, (True, False))):
        layout = ("contiguous", "transposed", "offset")[seed % 3]
        yield LeafCase(
            (2, 3), origin, make, grad, under, times=1 + seed % 3, layout=layout, values="special", seed=seed
        )
    owned = itertools.product(PLACES, AXES["before"], OWNERS, (True, False), (False, True))
    for seed, (place, before, owner, grad, mode) in enumerate(owned):
        axes = {"place": place, "before": before, "owner": owner, "slot": AXES["slot"][seed % 3]}
        if not (before in OTHERS and place in ("registered", "in_the_dict")):
            yield LeafCase((2, 2), requires_grad=grad, evaluating=mode, layout="transposed", **axes)
    for wrong, shape in itertools.product(WRONG, ((), (0,))):
        yield LeafCase(shape, wrong=wrong)


def landmarks() -> Iterator[LeafCase]:
    """Everything that must be refused, in every profile."""
    for wrong in WRONG:
        yield LeafCase((2, 3), wrong=wrong)
    for before in OTHERS:
        yield LeafCase((2, 3), before=before)


leaf = Family(
    "leaf",
    Space(LeafCase, AXES, canonical, scope, landmarks, flags=("origin", "under", "requires_grad", "dtype"), strength=2),
    plan,
    refused=lambda case: case.wrong is not None,
    cost=4.0,
    stride=2,
)
law = leaf.law


@law(
    "A Parameter is a leaf of its own: no graph, no base, no gradient and no hook of the tensor that it is made of; of a "
    "subclass's tensor it is one of the subclass.",
    source="torch.nn.Parameter; tensors that the user creates are leaves",
    obliges={"origin=graded", "origin=hooked", "origin=product", "under=inference", "times=3"},
)
def parameter_is_a_leaf(case: LeafCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kinds, "no Parameter"),
        is_true(out.marked, "made of a subclass's tensor, it is no leaf Parameter of that class in its memory"),
        is_true(out.apart, "a Parameter is the tensor that it was made of, or one that was made before"),
        is_true(out.rooted, "part of a graph, or with a gradient"),
        is_true(out.hookless, "with a hook"),
        is_false(out.views, "a view"),
        is_true(out.shown, "shown as something else"),
    )


@law(
    "A Parameter requires grad as asked, whatever its tensor does and under whatever grad mode.",
    source="torch.nn.Parameter: requires_grad defaults to True; not affected by no_grad",
    obliges={"under=no_grad", "under=inference", "origin=frozen", "empty", "rank=0", "make=by_default"},
)
def parameter_trains_as_asked(case: LeafCase, out: Outcome) -> Finding:
    return same(out.trains, [case.requires_grad] * case.times)


@law(
    "A Parameter lies where its tensor does: memory, offset, shape, strides, dtype; and holds its bits.",
    source="torch.nn.Parameter: data",
    obliges={
        "empty",
        "rank=0",
        "layout=expanded",
        "layout=offset",
        "layout=transposed",
        "values=special",
        "dtype=bfloat16",
    },
)
def parameter_lies_where_its_tensor_does(case: LeafCase, out: Outcome) -> Finding:
    wide = [axis for axis, length in enumerate(case.shape) if length > 1 and 0 not in case.shape]
    return every(
        same(out.places, [True] * case.times),
        is_true(out.shapes, "another shape or other strides than its tensor"),
        is_true(out.types, "another dtype, device or layout than its tensor"),
        same(out.leaf.meta("shape"), case.shape),
        same(out.leaf.meta("dtype"), case.dtype),
        same(_strides(out.leaf.meta("stride"), wide), [case.strides[axis] for axis in wide]),
        identical(out.values, case.format.to_bits(case.stored)),
    )


def _strides(got: Field, wide: list[int]) -> Field:
    return got.derived(f"[{{}}[axis] for axis in {wide}]")


@law(
    "Making a Parameter leaves its tensor: requires_grad, graph, version and gradient.",
    source="no side effects",
    obliges={"origin=leaf", "origin=graded"},
)
def parameter_leaves_its_tensor(case: LeafCase, out: Outcome) -> Finding:
    return is_true(out.source_kept, "the tensor's flags, graph, version or gradient changed")


@law(
    "A module takes a Parameter as it is, in the slot's place; the one before stays as it was; a submodule, buffer or "
    "attribute of that name is there no more.",
    source="nn.Module.__setattr__, register_parameter",
    obliges={
        "before=double",
        "before=frozen",
        "before=absent",
        "place=registered",
        "evaluating",
        "place=deleted_first",
        "before=a_module",
        "before=a_buffer",
    },
)
def module_takes_it_as_it_is(case: LeafCase, out: Outcome) -> Finding:
    return every(
        is_true(out.held, "the module holds another Parameter"),
        is_true(out.alone, "the module has something else of that name, too"),
        same(out.names, case.names),
        same(out.keys, case.names),
        is_true(out.state, "state_dict holds another tensor"),
        is_true(out.still, "the Parameter's flags or gradient changed"),
        is_true(out.replaced_kept, "the Parameter before changed"),
        is_true(out.mode_kept, "the module's mode changed"),
    )


@law(
    "None takes a Parameter out, assigned or registered; its slot stays, without a name in parameters() and state_dict(). "
    "Deletion takes the slot along.",
    source="nn.Module.register_parameter: None is not in state_dict; __delattr__",
)
def none_takes_it_out(case: LeafCase, out: Outcome) -> Finding:
    return every(
        is_true(out.out, "None was not stored"),
        same(out.names_out, ["first", "last"]),
        is_true(out.registered_out, "None that is registered does not take the Parameter's place"),
        is_true(out.deleted_out, "something is left of a slot that was deleted"),
    )


@law(
    "Deep copies and saved ones are Parameters with memory, bits and requires_grad of their own.",
    source="nn.Parameter.__deepcopy__; torch.save",
    obliges={"values=special", "empty", "layout=transposed", "dtype=bfloat16"},
)
def copies_of_it_are_alike(case: LeafCase, out: Outcome) -> Finding:
    bits = case.format.to_bits(case.stored)
    wide = [axis for axis, length in enumerate(case.shape) if length > 1 and 0 not in case.shape]
    copied = dense(case.strides, case.shape)
    findings = [
        same(_strides(out.saved_strides, wide), [case.strides[axis] for axis in wide]),
        same(_strides(out.deepcopied_strides, wide), [copied[axis] for axis in wide])
        if case.layout != "expanded"
        else UNASKED,
    ]
    for name in ("deepcopied", "saved"):
        findings.append(identical(getattr(out, name), bits))
        findings.append(is_true(getattr(out, f"{name}_well"), "no Parameter, frozen otherwise, or in the same memory"))
    return every(*findings)


@law(
    "A file keeps a Parameter's attributes, falsy ones too, and its freezing beside them; a deep copy of a leaf and a file "
    "keep a gradient's values, layout and coalescence, in memory of their own; conversion takes it along.",
    source="nn.Parameter.__reduce_ex__; Tensor.__deepcopy__; torch.save: Python attributes of a Parameter",
    obliges={"rank=0", "empty", "dtype=bfloat16"},
)
def what_is_fastened_goes_along(case: LeafCase, out: Outcome) -> Finding:
    count = 3 if case.shape else 1
    return every(
        is_true(out.told, "unpickled or loaded it lacks an attribute, or is frozen otherwise"),
        same(out.copied_grads, [True] * count),
        same(out.filed_grads, [True] * count),
    )


@law(
    "A Parameter that trains collects its own gradient, and nothing else does.",
    source="autograd: leaves collect",
    obliges={"rank=0", "empty", "origin=leaf", "origin=product", "under=no_grad"},
)
def parameter_collects_its_gradient(case: LeafCase, out: Outcome) -> Finding:
    return every(
        same(out.graded, case.requires_grad),
        is_false(out.others_graded, "another tensor collected a gradient"),
        same(out.own_grad, 2 * case.upstream) if case.requires_grad else UNASKED,
    )


@law(
    "What is written to one shows in the other, and counts as a write to both.",
    source="torch.nn.Parameter: shares memory; Tensor._version",
    obliges={"rank=0", "layout=transposed", "layout=expanded", "under=inference"},
)
def writes_show_in_both(case: LeafCase, out: Outcome) -> Finding:
    with np.errstate(over="ignore", invalid="ignore"):
        doubled = case.format.decode(case.format.encode(2 * case.number))
    return every(
        is_true(out.counted, "a write to the tensor is not counted by its Parameter"),
        same(out.doubled, doubled),
        same(out.zeroed, 0.0),
    )


@law("Only the tensor itself is written, not what lies around it.", source="no side effects")
def leaf_writes_nothing_around(case: LeafCase, out: Outcome) -> Finding:
    return unwritten(out, "data")


@law(
    "A wrong name, a tensor in a Parameter's place and integers that train are refused, and the module stays as it is.",
    source="nn.Module.register_parameter, register_buffer, add_module, __setattr__; Tensor.requires_grad",
    obliges={f"wrong={name}" for name in WRONG},
    refusal=True,
)
def wrong_members_are_refused(case: LeafCase, out: Outcome) -> Finding:
    return every(refuses(out, *WRONG[str(case.wrong)][1]), unwritten(out))


test_scope, test_product, test_random = leaf.tests()
