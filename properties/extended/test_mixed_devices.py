"""A call whose tensors lie on different devices gives no numbers, for a tensor on meta has none."""

from __future__ import annotations

from embcheck.core.comparison import described, every, refuses, unwritten
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import UNASKED, Finding
from embcheck.families.mixed_devices.cases import SPACE, MixedDevicesCase, plan
from embcheck.families.mixed_devices.programs import CALLS

family = Family("mixed_devices", SPACE, plan, refused=lambda case: case.divided, cost=1.5)
law = family.law


@law(
    "Outputs and gradients are on the inputs' device.",
    source="Tensor Attributes: torch.device; Meta device",
    must_cover={f"call={name}" for name in CALLS} | {"learns", "weight_on_meta", "index_dtype=int32"},
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
    must_cover={f"call={name}" for name in CALLS} | {"weight_on_meta", "late", "bagged", "multiplied"},
    refusal=True,
)
def mixed_meta_call_raises_or_returns_meta(case: MixedDevicesCase, out: Outcome) -> Finding:
    if out.error is not None:
        return every(refuses(out, RuntimeError, ValueError), unwritten(out))
    return described(out.gradient if case.learns else out.value, device="meta")


test_scope, test_product, test_random = family.tests()
