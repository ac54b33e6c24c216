"""Elsewhere: what an optimizer does with its parameters does not depend on torch's default device or dtype."""

from __future__ import annotations

import torch

from embcheck.core.comparison import every, identical, same
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Finding
from embcheck.families.default_device_dtype.cases import AXES, SPACE, STEPPED, DefaultDeviceDtypeCase, plan
from embcheck.families.tied_training.installed import lacking

family = Family("default_device_dtype", SPACE, plan, cost=4.0, untaken=lacking)
law = family.law


@law(
    "Optimizer steps and state do not depend on torch's default device or dtype.",
    source="torch.set_default_device, torch.set_default_dtype: used only for tensors created without device or dtype",
    must_cover={f"optimizer={name}" for name in STEPPED if hasattr(torch.optim, name)}
    | {f"setting={name}" for name in AXES["setting"]}
    | {"path=foreach", "path=fused", "late=1", "sparse"},
)
def optimizer_step_ignores_default_device_and_dtype(case: DefaultDeviceDtypeCase, out: Outcome) -> Finding:
    return every(identical(out.values, out.wanted), same(out.devices, []), same(out.differing, []))


test_scope, test_product, test_random = family.tests()
