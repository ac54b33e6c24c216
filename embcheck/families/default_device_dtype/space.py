"""Which cases of default_device_dtype there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.default_device_dtype.cases import DefaultDeviceDtypeCase
from embcheck.families.default_device_dtype.programs import SETTINGS, elsewhere
from embcheck.families.tied_training.optimizers import KINDS

#: Those whose step takes no closure.
STEPPED = tuple(name for name in KINDS if name != "LBFGS")


def plan(case: DefaultDeviceDtypeCase) -> Plan:
    options = {
        "kind": case.optimizer,
        "flags": case.flags,
        "setting": SETTINGS[case.setting],
        "plain": SETTINGS["nothing"],
        "late": case.late,
        "sparse": case.sparse,
    }
    return Plan(elsewhere, case.inputs(), options)


def repair(case: DefaultDeviceDtypeCase) -> DefaultDeviceDtypeCase | None:
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


def scope() -> Iterator[DefaultDeviceDtypeCase]:
    """Every optimizer on each path in each setting, from the first step on or later."""
    axes = itertools.product(STEPPED, AXES["path"], AXES["setting"], AXES["late"], AXES["decay"], AXES["sparse"])
    seen = set()
    for seed, (optimizer, path, setting, late, decay, sparse) in enumerate(axes):
        fitted = repair(
            DefaultDeviceDtypeCase(
                optimizer=optimizer, path=path, setting=setting, late=late, decay=decay, sparse=sparse, steps=3
            )
        )
        if fitted is not None and fitted not in seen:
            seen.add(fitted)
            yield fitted.but(seed=seed)


SPACE = Space(DefaultDeviceDtypeCase, AXES, repair, scope, flags=("optimizer", "path", "setting"), strength=2)
