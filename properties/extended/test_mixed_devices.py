"""Apart: tensors of one call that lie on different devices give no numbers, for on one of them there are none.

A tensor on meta has sizes and no elements: what is computed of one that has elements and one that has none can't have
elements, wherever it lies.
"""

from __future__ import annotations

from embcheck.core.comparison import described, every, refuses, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.mixed_devices.cases import MixedDevicesCase
from embcheck.families.mixed_devices.programs import APART
from embcheck.families.mixed_devices.space import SPACE, plan

#: What refuses a call.
REFUSALS = (RuntimeError, ValueError)


family = Family(
    "mixed_devices",
    SPACE,
    plan,
    refused=lambda case: case.divided,
    cost=1.5,
)
law = family.law


@law(
    "Outputs and gradients are on the inputs' device.",
    source="Tensor Attributes: torch.device; Meta device",
    must_cover={f"call={name}" for name in APART} | {"learns", "weight_on_meta", "index_dtype=int32"},
)
def output_and_gradient_are_on_the_input_device(case: MixedDevicesCase, out: Outcome) -> Finding:
    place = out.table.plain("device")
    sizes = (case.num_embeddings, case.embedding_dim)
    return every(
        described(out.value, shape=case.shape, dtype=case.dtype, device=place),
        described(out.gradient, shape=sizes, dtype=case.dtype, device=place) if case.learns else UNASKED,
    )


@law(
    "A call that mixes real and meta tensors raises or returns meta tensors.",
    source="Meta device: a tensor without data; binary operators: 'Expected all tensors to be on the same device'",
    must_cover={f"call={name}" for name in APART} | {"weight_on_meta", "late", "bagged", "multiplied"},
    refusal=True,
)
def mixed_meta_call_raises_or_returns_meta(case: MixedDevicesCase, out: Outcome) -> Finding:
    if out.error is not None:
        return every(refuses(out, *REFUSALS), unwritten(out))
    if case.learns:
        return described(out.gradient, device="meta")
    return described(out.value, device="meta")


test_scope, test_product, test_random = family.tests()
