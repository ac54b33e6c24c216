"""Elsewhere: what an optimizer does with its parameters does not depend on torch's default device or dtype."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.comparison import every, identical, same
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space
from embcheck.training.elsewhere import SETTINGS, elsewhere
from embcheck.training.elsewhere_case import Elsewhere
from embcheck.training.optimizer import KINDS
from embcheck.training.release import lacking

#: Those whose step takes no closure.
STEPPED = tuple(name for name in KINDS if name != "LBFGS")


def plan(case: Elsewhere) -> Plan:
    options = {
        "kind": case.optimizer,
        "flags": case.flags,
        "setting": SETTINGS[case.setting],
        "plain": SETTINGS["nothing"],
        "late": case.late,
        "sparse": case.sparse,
    }
    return Plan(elsewhere, case.inputs(), options)


def canonical(case: Elsewhere) -> Elsewhere | None:
    """The case with flags and gradients that its optimizer takes."""
    kind = KINDS[case.optimizer]
    changes: dict[str, Any] = {"late": min(case.late, case.steps - 1)}
    if case.path not in kind.flags:
        changes["path"] = ""
    if "sparse" not in kind.takes or changes.get("path", case.path):
        changes["sparse"] = False
    elif "dense" not in kind.takes:
        changes["sparse"] = True
    if "weight_decay" not in kind.flags or case.sparse or changes.get("sparse"):
        changes["decay"] = 0.0
    if case.optimizer in ("ASGD", "NAdam") and case.setting == "double":
        changes["setting"] = "half"  # what an optimizer counts has more digits where double is the default
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "rows": (2, 1, 5),
    "optimizer": STEPPED,
    "path": ("", "foreach", "fused"),
    "setting": tuple(SETTINGS)[1:],
    "late": (0, 1),
    "steps": (2, 1, 3),
    "sparse": (False, True),
    "decay": (0.0, 0.5),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[Elsewhere]:
    """Every optimizer on each path in each setting, from the first step on or later."""
    axes = itertools.product(STEPPED, AXES["path"], AXES["setting"], AXES["late"], AXES["decay"], AXES["sparse"])
    seen = set()
    for seed, (optimizer, path, setting, late, decay, sparse) in enumerate(axes):
        fitted = canonical(
            Elsewhere(optimizer=optimizer, path=path, setting=setting, late=late, decay=decay, sparse=sparse, steps=3)
        )
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted.but(seed=seed)


family = Family(
    "elsewhere",
    Space(Elsewhere, AXES, canonical, scope, flags=("optimizer", "path", "setting"), strength=2),
    plan,
    cost=4.0,
    untaken=lacking,
)
law = family.law


@law(
    "An optimizer moves its parameters, bit for bit, as it would under any other default device and dtype, and keeps the same "
    "state on their device.",
    source="torch.set_default_device, set_default_dtype: of tensors that are created without a device or dtype",
    obliges={f"optimizer={name}" for name in STEPPED if hasattr(torch.optim, name)}
    | {f"setting={name}" for name in AXES["setting"]}
    | {"path=foreach", "path=fused", "late=1", "sparse"},
)
def steps_are_the_same_elsewhere(case: Elsewhere, out: Outcome) -> Finding:
    return every(identical(out.values, out.wanted), same(out.devices, []), same(out.differing, []))


test_scope, test_product, test_random = family.tests()
