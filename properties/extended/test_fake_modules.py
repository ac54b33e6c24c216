"""Shadow layer: layers of fake tensors, or on meta, are made, filled and converted as those that have memory are."""

from __future__ import annotations

from embcheck.core.comparison import same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.fake_modules.cases import FakeModuleCase
from embcheck.families.fake_modules.programs import SHADOW_ACTS, SHADOW_FILLS
from embcheck.families.fake_modules.space import SPACE, plan

family = Family(
    "fake_modules",
    SPACE,
    plan,
    cost=15.0,
)
law = family.law


@law(
    "A module of fake or meta tensors has a real module's parameter names, shapes, dtypes, requires_grad and ties.",
    source="torch.compiler: fake tensors; Meta device; nn.Module.to; torch.nn.init",
    must_cover={f"fill={name}" for name in SHADOW_FILLS}
    | {f"act={name}" for name in SHADOW_ACTS}
    | {"kind=meta", "kind=fake", "warm", "layer=tied"},
)
def fake_module_parameters_match_real(case: FakeModuleCase, out: Outcome) -> Finding:
    return same(out.parameters, case.parameters)


test_scope, test_product, test_random = family.tests()
