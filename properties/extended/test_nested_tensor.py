"""A nested tensor of tokens is looked up, or summed, component by component, whatever lies between them."""

from __future__ import annotations

from embcheck.core.comparison import every, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.nested_tensor.cases import SPACE, NestedTensorCase, plan
from embcheck.families.nested_tensor.programs import no_backward

family = Family("nested_tensor", SPACE, plan, cost=12.0, stride=3, absent=no_backward())
law = family.law


@law(
    "A nested lookup or bag returns each component's rows, or their sum, mean or maximum.",
    source="F.embedding; F.embedding_bag: input; torch.nested: components",
    must_cover={"bag", "holes", "empty_component", "padding_hit", "columns=2", "reduced=max", "index_dtype=int32"},
)
def nested_lookup_acts_on_each_component(case: NestedTensorCase, out: Outcome) -> Finding:
    width, alone = case.embedding_dim, case.reduced == "lookup"
    inner = (case.columns,) if case.columns else ()
    shapes = [(length, *inner, width) for length in case.lengths] if alone else [(len(case.lengths), width)]
    bound = 4 * case.format.unit_roundoff * abs(case.value)
    value = within(out.value, case.value, bound) if case.reduced == "mean" else same(out.value, case.value)
    return every(same(out.is_nested, alone), same(out.shapes, shapes), value)


@law(
    "The weight gradient sums the upstream gradients of the indices of all components.",
    source="the chain rule; nn.Embedding: padding_idx, sparse, scale_grad_by_freq",
    when=lambda case: case.reduced != "max",
    must_cover={"bag", "holes", "padding_hit", "sparse", "scale_grad_by_freq", "repeated", "columns=2"},
)
def nested_weight_gradient_sums_over_components(case: NestedTensorCase, out: Outcome) -> Finding:
    return every(same(out.sparse, case.sparse), within(out.weight_grad, *case.gradient))


@law("A nested lookup or bag and its backward modify no input.", source="no side effects")
def nested_call_modifies_no_input(case: NestedTensorCase, out: Outcome) -> Finding:
    return unwritten(out)


test_scope, test_product, test_random = family.tests()
