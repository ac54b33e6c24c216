"""A Parameter of a tensor is a leaf over its memory, and a module takes it as it is."""

import numpy as np

from embcheck.core.comparison import every, identical, is_false, is_true, same, same_strides, unwritten
from embcheck.core.law import Family
from embcheck.core.layout import preserved_strides
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.parameter.cases import SPACE, ParameterCase, plan
from embcheck.families.parameter.programs import CONTENTS

parameter = Family("parameter", SPACE, plan, cost=4.0, stride=2)
law = parameter.law


@law(
    "A Parameter is a leaf without its tensor's graph, gradient or hooks.",
    source="torch.nn.Parameter; tensors that the user creates are leaves",
    must_cover={"origin=graded", "origin=hooked", "origin=product", "under=inference"},
)
def parameter_is_a_new_leaf(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        is_true(out.kind, "no Parameter, a view, or the tensor that it was made of"),
        is_true(out.rooted, "part of a graph, or with a gradient"),
        is_true(out.hookless, "with a hook"),
    )


@law(
    "A Parameter requires grad as given, whatever its tensor does and under any grad mode.",
    source="torch.nn.Parameter: requires_grad defaults to True; not affected by no_grad",
    must_cover={"under=no_grad", "under=inference", "origin=frozen", "empty", "rank=0", "by_default"},
)
def parameter_requires_grad_as_given(case: ParameterCase, out: Outcome) -> Finding:
    return same(out.trains, case.learns)


@law(
    "A Parameter has its tensor's memory, offset, shape, strides, dtype and bits.",
    source="torch.nn.Parameter: data",
    must_cover={f"layout={name}" for name in ("expanded", "offset", "transposed")}
    | {"empty", "rank=0", "values=special", "dtype=bfloat16"},
)
def parameter_has_its_tensors_storage(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        is_true(out.place, "a Parameter lies elsewhere than its tensor"),
        same(out.leaf.meta("shape"), case.shape),
        same(out.leaf.meta("dtype"), case.dtype),
        same_strides(out.leaf, case.shape, case.strides),
        identical(out.values, case.format.to_bits(case.stored)),
    )


@law(
    "Making a Parameter leaves its tensor's requires_grad, graph, version and gradient.",
    source="no side effects",
    must_cover={"origin=leaf", "origin=graded"},
)
def parameter_leaves_its_tensor_unchanged(case: ParameterCase, out: Outcome) -> Finding:
    return is_true(out.source_kept, "the tensor's flags, graph, version or gradient changed")


@law(
    "A module registers an assigned Parameter as it is, in place of what had its name.",
    source="nn.Module.__setattr__, register_parameter; nn.ParameterList, nn.ParameterDict",
    must_cover={"before=frozen", "before=absent", "before=buffer", "before=module", "registered"},
)
def assigned_parameter_is_registered(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        is_true(out.held, "the module holds another Parameter"),
        same(out.names, case.names),
        is_true(out.state, "state_dict holds another tensor"),
        is_true(out.replaced_kept, "the Parameter before changed"),
        same(out.contained, [True, True]),
    )


@law(
    "Registering a Parameter changes nothing else of the module: tensors, ties, gradients, flags and modes stay.",
    source="nn.Module.register_parameter: adds a parameter to the module",
    must_cover={f"module_{name}" for name in CONTENTS} | {"registered", "before=absent", "before=alike"},
)
def registering_keeps_the_rest_of_the_module(case: ParameterCase, out: Outcome) -> Finding:
    return is_true(out.rest_kept, "another tensor, tie, gradient, flag or mode of the module changed")


@law(
    "Deep, saved and pickled copies are Parameters with the same bits and requires_grad, in their own memory.",
    source="nn.Parameter.__deepcopy__; torch.save",
    must_cover={"values=special", "empty", "layout=transposed", "dtype=bfloat16"},
)
def parameter_copies_own_their_memory(case: ParameterCase, out: Outcome) -> Finding:
    bits = case.format.to_bits(case.stored)
    copied = preserved_strides(case.strides, case.shape)
    return every(
        identical(out.deepcopied, bits),
        identical(out.saved, bits),
        is_true(out.deepcopied_well, "the deep copy is no Parameter, frozen otherwise, or in the same memory"),
        same(out.copied_again, [True] * 3),
        is_true(out.saved_well, "the saved one is no Parameter, frozen otherwise, or in the same memory"),
        identical(out.labelled, bits),
        same(out.label, {"label": "tied"}),
        is_true(out.labelled_well, "the pickled one is no Parameter, frozen otherwise, or in the same memory"),
        same_strides(out.saved_strides, case.shape, case.strides),
        same_strides(out.deepcopied_strides, case.shape, copied) if case.layout != "expanded" else UNASKED,
    )


@law(
    "A Parameter of a tensor subclass is both, and the deep copy of a Parameter subclass has its class.",
    source="torch.nn.Parameter: a kind of Tensor; nn.Parameter.__deepcopy__: type(self)",
    must_cover={"empty", "layout=transposed", "dtype=bfloat16"},
)
def parameter_keeps_its_class(case: ParameterCase, out: Outcome) -> Finding:
    return same(out.kinds, [True] * 3)


@law(
    "A Parameter sent to another process is a Parameter there, in the same memory, with the same requires_grad.",
    source="torch.multiprocessing: tensors are moved to shared memory, and a handle is sent",
    must_cover={"requires_grad=False", "layout=transposed", "empty", "dtype=bfloat16"},
)
def sent_parameter_shares_memory_and_flag(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        is_true(out.sent_kind, "no Parameter came"),
        same(out.sent_trains, case.learns),
        is_true(out.sent_placed, "it lies elsewhere, or with other strides"),
    )


@law(
    "A copied or pickled plain tensor keeps its bits and requires_grad, a deep copy also its gradient and attributes.",
    source="torch.Tensor.__deepcopy__; copy.deepcopy; pickle",
    must_cover={"values=special", "empty", "rank=0", "dtype=bfloat16", "turn=0"},
)
def copied_tensor_keeps_gradient_and_attributes(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        is_true(out.prompt_kind, "the copy is no leaf, is of another class, or requires no grad"),
        is_true(out.prompt_apart, "the copy or its gradient is that of the tensor"),
        same(out.prompt_label, "prompt"),
        identical(out.prompt, case.format.to_bits(case.stored)),
        same(out.prompt_grad, np.full(case.shape, 3.0)),
        UNASKED if case.seed % 4 else identical(out.pickled, case.format.to_bits(case.stored)),
        UNASKED
        if case.seed % 4
        else is_true(out.pickled_learns, "what was pickled is no leaf, is of another class, or requires no grad"),
    )


@law(
    "torch.randn, zeros, full, tensor, … make a leaf that requires grad if they are told so, under no_grad too.",
    source="torch.randn, torch.zeros, torch.tensor: requires_grad, if autograd should record operations on the returned tensor",
    when=lambda case: case.seed % 4 == 0,
    must_cover={"turn=0"},
)
def made_tensors_require_grad_if_told(case: ParameterCase, out: Outcome) -> Finding:
    return same(out.made, [True] * 12)


@law(
    "A Parameter that requires grad accumulates its own gradient, and nothing else does.",
    source="autograd: leaves collect",
    must_cover={"rank=0", "empty", "origin=leaf", "origin=product", "under=no_grad"},
)
def parameter_accumulates_its_gradient(case: ParameterCase, out: Outcome) -> Finding:
    return every(
        same(out.graded, case.learns),
        is_false(out.source_graded, "the tensor collected a gradient"),
        same(out.own_grad, 2 * case.upstream) if case.learns else UNASKED,
    )


@law(
    "A write to a Parameter or its tensor appears in both and counts as a write to both.",
    source="torch.nn.Parameter: shares memory; Tensor._version",
    must_cover={"rank=0", "layout=transposed", "layout=expanded", "under=inference"},
)
def parameter_aliases_its_tensor(case: ParameterCase, out: Outcome) -> Finding:
    with np.errstate(over="ignore", invalid="ignore"):
        doubled = case.format.rounded(2 * case.number)
    return every(
        is_true(out.counted, "a write to the tensor is not counted by its Parameter"),
        same(out.doubled, doubled),
        same(out.zeroed, 0.0),
    )


@law("Only the tensor itself is written, not the memory around it.", source="no side effects")
def parameter_writes_nothing_around(case: ParameterCase, out: Outcome) -> Finding:
    return unwritten(out, "data")


test_scope, test_product, test_random = parameter.tests()
