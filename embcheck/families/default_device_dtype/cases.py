"""An optimizer that steps while torch's default device or dtype is another: the cases that there are, and their program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.default_device_dtype.programs import SETTINGS, elsewhere
from embcheck.families.tied_training.optimizers import KINDS


class _ElsewhereAxes(NamedTuple):
    """The axes, simplest value first."""

    rows: int = 2
    optimizer: str = "SGD"
    #: "", "foreach" or "fused"
    path: str = ""
    setting: str = "meta"
    #: how many steps are taken before
    late: int = 0
    steps: int = 2
    sparse: bool = False
    decay: float = 0.0
    dtype: str = "float32"
    seed: int = 0


class DefaultDeviceDtypeCase(Axes, _ElsewhereAxes):  # type: ignore[misc]
    """Steps of an optimizer whose parameter and gradients lie on the CPU."""

    @property
    def flags(self) -> dict[str, Any]:
        """What the optimizer is made with."""
        path, decay = {self.path: True} if self.path else {}, {"weight_decay": self.decay} if self.decay else {}
        return {"lr": 0.5, **path, **decay}

    def inputs(self) -> dict[str, Input]:
        """What is fed."""
        fmt = FORMATS[self.dtype]
        return {
            "weight": Input(fmt.encode(stream.small("weight", self.seed, (self.rows, 2))), self.dtype),
            "grads": Input(fmt.encode(stream.small("grads", self.seed, (self.steps, self.rows, 2))), self.dtype),
        }


#: Those whose step takes no closure.
STEPPED = tuple(name for name in KINDS if name != "LBFGS")


def plan(case: DefaultDeviceDtypeCase) -> Plan:
    options = {name: getattr(case, name) for name in ("flags", "late", "sparse")}
    options |= {"kind": case.optimizer, "setting": SETTINGS[case.setting], "plain": SETTINGS["nothing"]}
    return Plan(elsewhere, case.inputs(), options)


def repair(case: DefaultDeviceDtypeCase) -> DefaultDeviceDtypeCase:
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
    names = ("optimizer", "path", "setting", "late", "decay", "sparse")
    seen = set()
    for seed, values in enumerate(itertools.product(*(AXES[name] for name in names))):
        fitted = repair(DefaultDeviceDtypeCase(**dict(zip(names, values, strict=True)), steps=3))
        if fitted not in seen:
            seen.add(fitted)
            yield fitted.but(seed=seed)


SPACE = Space(DefaultDeviceDtypeCase, AXES, repair, scope, flags=("optimizer", "path", "setting"), strength=2)
