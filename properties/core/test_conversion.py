"""Conversion: linear.weight = Parameter(embedding.weight.T) and back keep values, gradients and shared memory."""

from dataclasses import replace
from typing import Any

import numpy as np

from embcheck.core.case import with_padding_first
from embcheck.core.comparison import (
    both_shown,
    described,
    every,
    identical,
    is_true,
    refuses,
    same,
    same_strides,
    unwritten,
    within,
)
from embcheck.core.law import Family
from embcheck.core.oracle import Expected
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import UNASKED, Difference, Finding
from embcheck.families.conversion import oracle
from embcheck.families.conversion.assignment import AT_CALL, RAISES
from embcheck.families.conversion.cases import ConversionCase, is_dense
from embcheck.families.conversion.space import SPACE, plan

conversion = Family(
    "conversion",
    SPACE,
    plan,
    refused=lambda case: case.mistake is not None,
    cost=2.0,
    stride=4,
    typical=with_padding_first("repeated & rank>=2 & num_embeddings>=3 & embedding_dim>=2"),
)
law = conversion.law


def gradient(got: Field, expected: Expected | None) -> Finding:
    """A gradient that was collected, or none."""
    if expected is None or got.raw is None:
        return same(got.derived("{} is None"), expected is None)
    return within(got, *expected)


@law(
    "The converted weight is a leaf Parameter that requires grad unless frozen, even if made under no_grad.",
    source="torch.nn.Parameter: requires_grad defaults to True; Autograd mechanics: leaf tensors",
    must_cover={"grad_mode=no_grad", "grad_mode=inference", "assign=load_assign", "source=from_pretrained"},
)
def converted_weight_is_a_leaf_parameter(case: ConversionCase, out: Outcome) -> Finding:
    return every(
        is_true(out.is_parameter, "not a Parameter"),
        same(out.leaf.meta("is_leaf"), True),
        same(out.leaf.meta("requires_grad"), case.trainable),
        is_true(out.no_graph, "the parameter is part of a graph, or has a hook"),
        is_true(out.no_grad_yet, "the parameter has a gradient before any backward"),
    )


@law(
    "The converted weight is registered under its old name in parameters() and state_dict().",
    source="torch.nn.Module: Parameters assigned as attributes are added to parameters()",
)
def converted_weight_is_registered(case: ConversionCase, out: Outcome) -> Finding:
    inside = case.assign not in AT_CALL
    return every(
        same(out.registered, inside),
        is_true(out.names, "other parameter names than before"),
        is_true(out.keys, "other state_dict keys than before"),
        is_true(out.state, "state_dict holds another tensor") if inside else UNASKED,
    )


@law("The converted weight has the transposed shape and the source weight's dtype and device.", source="torch.Tensor.T")
def converted_weight_has_transposed_shape(case: ConversionCase, out: Outcome) -> Finding:
    return every(
        same(out.leaf.meta("shape"), case.memory_shape[::-1]),
        same(out.leaf.meta("dtype"), case.dtype),
        same(out.leaf.meta("device"), out.device),
        same(out.leaf.meta("layout"), "strided"),
    )


@law(
    "The converted weight equals the transposed source weight, bit for bit.",
    source="torch.transpose",
    must_cover={"square", "layout=transposed", "values=special", "dtype=bfloat16"},
)
def converted_weight_equals_transpose_bitwise(case: ConversionCase, out: Outcome) -> Finding:
    bits = case.format.to_bits(case.weight_stored).T
    found = every(described(out.converted, dtype=case.dtype), identical(out.converted, bits))
    if isinstance(found, Difference) and (made := oracle.how_made(case, out.converted.values)):
        return replace(found, words=f"{found.words}: {made}")
    return found


@law(
    "The converted weight has the strides of the transposed view, or of the requested copy.",
    source="torch.transpose; torch.clone: memory_format=torch.preserve_format",
)
def converted_weight_has_transposed_strides(case: ConversionCase, out: Outcome) -> Finding:
    return same_strides(out.leaf, case.memory_shape[::-1], case.strides)


@law(
    "A converted Linear computes xAᵀ + b, exactly W[i] + b for one_hot(i); a converted Embedding returns W[i].",
    source="nn.Linear: y = xAᵀ + b; nn.Embedding: a lookup table",
    must_cover={"square", "rank=0", "rank=3", "bias=whole", "numel>1000", "embedding_dim>1000", "autocast", "empty",
             "num_embeddings>4096", "autocast=float16_inside",
             "input=dense & input_layout=swapped & rank=2 & numel=6 & bias=whole & num_embeddings>1"},
)  # fmt: skip
def converted_module_computes_its_formula(case: ConversionCase, out: Outcome) -> Finding:
    value, others = oracle.value(case), out.along_first_axis("other_values")
    return every(
        *(within(got, *value) for got in [out.value, *others]),
        within(out.dual_value, *value) if case.derives else UNASKED,
    )


@law(
    "An Embedding converted from a Linear returns its rows bit for bit.",
    source="nn.Embedding: a lookup table",
    must_cover={"values=special"},
    when=lambda case: not case.to_linear,
)
def converted_embedding_copies_rows(case: ConversionCase, out: Outcome) -> Finding:
    rows = case.format.to_bits(case.lookup.weight_stored)[case.lookup.tokens]
    return identical(out.value, rows.reshape(*case.shape, case.embedding_dim))


@law(
    "The output has the parameters' dtype, or bfloat16 where autocast applies.",
    source="Automatic Mixed Precision: CPU ops that autocast to bfloat16 (linear; not embedding, not float64)",
)
def converted_output_has_expected_dtype(case: ConversionCase, out: Outcome) -> Finding:
    return every(
        same(out.value.meta("dtype"), case.computed.name),
        same(out.value.meta("requires_grad"), case.value_requires_grad),
        same(out.value.meta("is_leaf"), not case.value_requires_grad),
        same(out.value, out.value_kept),  # though the weight was written to since
    )


@law(
    "The output is contiguous.",
    source="torch.Tensor.is_contiguous",
    must_cover={"rank=0", "rank=3", "bias=none", "bias=whole", "input_layout=transposed", "input_layout=column_slice",
             "layout=transposed", "autocast", "input=dense"},
)  # fmt: skip
def converted_output_is_contiguous(case: ConversionCase, out: Outcome) -> Finding:
    others = same(out.others_contiguous, True) if case.company == "several" else UNASKED
    return every(same(out.value.meta("is_contiguous"), True), others)


@law(
    "The converted weight's gradient is dYᵀ X in a Linear and one_hot(i)ᵀ dY in an Embedding.",
    source="nn.Linear and nn.Embedding: the chain rule",
    must_cover={"square", "rank=0", "rank=3", "repeated", "numel>4096", "passes=2", "padding_hit", "sparse", "empty"},
)
def converted_weight_gradient_follows_chain_rule(case: ConversionCase, out: Outcome) -> Finding:
    expected, others = oracle.weight_gradient(case), out.along_first_axis("other_weight_grad")
    found = gradient(out.weight_grad, expected if case.trainable else None)
    return every(found, *(within(grad, *expected) for grad in others))


@law(
    "The converted weight's gradient has the weight's shape, dtype and memory layout.",
    when=lambda case: case.trainable,
    source="Autograd mechanics: default gradient layouts",
)
def converted_gradient_has_weight_layout(case: ConversionCase, out: Outcome) -> Finding:
    shape = case.memory_shape[::-1]
    own = case.strides if is_dense(case.strides, shape) else (shape[1], 1)
    sparse = case.sparse and not case.to_linear
    return every(
        same(out.weight_grad.meta("shape"), shape),
        same(out.weight_grad.meta("dtype"), case.dtype),
        same(out.weight_grad.meta("is_sparse"), sparse),
        same(out.weight_grad.meta("requires_grad"), False),
        UNASKED if sparse else same_strides(out.weight_grad, shape, own),
        same(out.weight_grad, out.grad_kept),
    )


@law(
    "The bias gradient is the sum of the upstream gradients; a frozen bias gets none.",
    source="nn.Linear: y = xAᵀ + b",
    must_cover={"rank=0", "rank=3", "bias=frozen"},
    when=lambda case: case.to_linear and case.bias != "none",
)
def converted_bias_gradient_sums_upstream(case: ConversionCase, out: Outcome) -> Finding:
    if case.bias == "frozen":
        return gradient(out.bias_grad, None)
    total = case.passes * case.upstream_values.sum(0)
    magnitude = case.passes * np.abs(case.upstream_values).sum(0)
    fits = magnitude.max(initial=0) <= case.computed.largest_integer
    limit = 0.0 if fits else (case.numel + 1) * case.computed.unit_roundoff * magnitude
    return gradient(out.bias_grad, (total, np.broadcast_to(np.asarray(limit), total.shape)))


@law(
    "The gradient of the converted Linear's input is dY A, with A the converted weight.",
    source="nn.Linear: y = xAᵀ + b",
    when=lambda case: case.to_linear and (case.input_grad or case.derives),
    must_cover={"rank=0", "rank=3", "input=dense", "embedding_dim>4096"},
)
def converted_input_gradient_follows_chain_rule(case: ConversionCase, out: Outcome) -> Finding:
    return every(
        gradient(out.input_grad, oracle.input_gradient(case, case.passes)) if case.input_grad else UNASKED,
        within(out.input_gradient, *oracle.input_gradient(case)) if case.derives else UNASKED,
    )


@law(
    "The forward-mode derivative of a converted Linear is dX Aᵀ + X dAᵀ + db.",
    source="nn.Linear: y = xAᵀ + b; torch.autograd.forward_ad",
    when=lambda case: case.derives,
    must_cover={"rank=0 & bias=whole", "rank=1", "rank=3", "bias=none"}
    | {"input=dense", "dtype=bfloat16", "layout=transposed"},
)
def converted_linear_derivative_follows_product_rule(case: ConversionCase, out: Outcome) -> Finding:
    return every(within(out.tangent, *oracle.tangent(case)), same(out.tangent.meta("dtype"), case.dtype))


@law(
    "The derivative by A of a converted Linear's input gradient dY A, along X, is dYᵀ X.",
    source="nn.Linear: y = xAᵀ + b; torch.autograd.grad: create_graph",
    when=lambda case: case.derives,
    must_cover={"rank=0", "rank=2 & bias=none & shares", "bias=whole", "dtype=bfloat16"},
)
def converted_linear_is_differentiated_twice(case: ConversionCase, out: Outcome) -> Finding:
    return within(out.second, *oracle.second_derivative(case))


@law(
    "F.linear with a vector as weight gives its inner product with each row, contiguous, and both gradients.",
    source="torch.nn.functional.linear: weight has shape (in_features); torch.Tensor.is_contiguous",
    when=lambda case: case.by_row,
    must_cover={"rank=0", "rank=3", "input=dense", "dtype=bfloat16", "passes=2", "trainable", "layout=transposed"},
)
def linear_with_a_vector_is_the_inner_product(case: ConversionCase, out: Outcome) -> Finding:
    value, row_gradient, input_gradient = oracle.of_one_row(case)
    return every(
        same(out.row_value.meta("is_contiguous"), True),
        within(out.row_value, *value),
        within(out.row_grad, *row_gradient),
        gradient(out.row_input_grad, input_gradient if case.trainable else None),
    )


@law(
    "The source module keeps its Parameter, version counter, requires_grad, arguments and training mode.",
    source="torch.nn.Parameter; no side effects",
)
def conversion_preserves_source_module(case: ConversionCase, out: Outcome) -> Finding:
    return every(
        is_true(out.original_kept, "the source's Parameter was replaced or written to"),
        is_true(out.original_requires_grad, "requires_grad of the source's weight changed"),
        is_true(out.original_says, "flags or training mode changed"),
        is_true(out.version_kept, "forward or backward wrote to the source's weight"),
    )


@law(
    "Backward through the converted weight adds nothing to the source weight's .grad.",
    source="torch.nn.Parameter; Autograd mechanics: leaf tensors accumulate their own .grad",
    must_cover={"company=one_loss", "company=backward_before", "company=backward_after"},
)
def converted_and_source_gradients_are_separate(case: ConversionCase, out: Outcome) -> Finding:
    return gradient(out.original_grad, oracle.source_gradient(case))


@law(
    "The source module returns the same output after the conversion.",
    source="no side effects",
    when=lambda case: case.values != "special",
)
def conversion_preserves_source_output(case: ConversionCase, out: Outcome) -> Finding:
    rows = case.lookup.weight_values[case.lookup.tokens]
    if not case.to_linear:
        rows = case.format.rounded(rows + case.bias_values)
    return same(out.source_value, rows.reshape(*case.shape, case.embedding_dim))


@law(
    "An SGD step with lr=0.5 subtracts half the gradient from the converted weight.", source="torch.optim.SGD: θ − γ g"
)
def sgd_step_updates_converted_weight(case: ConversionCase, out: Outcome) -> Finding:
    return within(out.stepped, *oracle.stepped(case))


@law(
    "A write to one weight changes the other exactly when the conversion made a view.",
    source="Tensor Views: torch.Tensor.T and detach are views; torch.clone copies; Tensor.contiguous copies unless contiguous",
    must_cover={
        "shares",
        "spelling=contiguous",
        "cut=clone",
        "assign=copy",
        "later=deepcopied",
        "later=there_and_back",
    },
)
def converted_weight_shares_memory_iff_view(case: ConversionCase, out: Outcome) -> Finding:
    moved, limit = oracle.stepped(case)
    start = case.lookup.weight_values if case.to_linear else case.lookup.weight_values.T
    original = 0.0 if case.later != "deepcopied" else start

    def explain(actual: Any) -> str:
        if np.array_equal(actual, start, equal_nan=True):
            return "a step of the converted weight left the source's as it was: they do not share memory"
        return both_shown(actual, moved.T, actual != moved.T)

    if case.shares:
        return every(
            within(out.source_stepped, moved.T, limit.T, explain),
            within(out.source_negated, -moved.T, limit.T),
            same(out.leaf_zeroed, 0.0),
            same(out.source_zeroed, 0.0),
            same(out.aside, original),
        )
    return every(
        same(out.source_stepped, start),
        same(out.source_negated, start),
        within(out.leaf_zeroed, -moved, limit),
        same(out.source_zeroed, 0.0),
        same(out.aside, original),
    )


@law("The conversion modifies neither its inputs nor the memory around the weight.", source="no side effects")
def conversion_modifies_no_input(case: ConversionCase, out: Outcome) -> Finding:
    return unwritten(out)


@law(
    "Assigning an untransposed weight, a plain tensor or an integer Parameter raises; the old weight keeps its values.",
    source="nn.Module.__setattr__; nn.Module.load_state_dict; torch.Tensor.requires_grad",
    refusal=True,
)
def invalid_weight_assignments_raise(case: ConversionCase, out: Outcome) -> Finding:
    return every(refuses(out, RAISES[str(case.mistake)]), unwritten(out))


test_scope, test_product, test_random = conversion.tests()
