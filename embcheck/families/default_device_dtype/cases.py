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

    optimizer: str = "SGD"
    #: "", "foreach" or "fused"
    path: str = ""
    setting: str = "meta"
    #: how many steps are taken before
    late: int = 0
    sparse: bool = False
    seed: int = 0


class DefaultDeviceDtypeCase(Axes, _ElsewhereAxes):  # type: ignore[misc]
    """Three steps of an optimizer whose parameter and gradients lie on the CPU."""

    def inputs(self) -> dict[str, Input]:
        """What is fed."""
        encode = FORMATS["float32"].encode
        return {
            "weight": Input(encode(stream.small("weight", self.seed, (2, 2))), "float32"),
            "grads": Input(encode(stream.small("grads", self.seed, (3, 2, 2))), "float32"),
        }


#: Those whose step takes no closure.
STEPPED = tuple(name for name in KINDS if name != "LBFGS")


def plan(case: DefaultDeviceDtypeCase) -> Plan:
    flags = {"lr": 0.5, **({case.path: True} if case.path else {})}
    options = {"kind": case.optimizer, "flags": flags, "late": case.late, "sparse": case.sparse}
    options |= {"setting": SETTINGS[case.setting], "plain": SETTINGS["nothing"]}
    return Plan(elsewhere, case.inputs(), options)


def repair(case: DefaultDeviceDtypeCase) -> DefaultDeviceDtypeCase:
    """The case with a path and gradients that its optimizer takes."""
    kind = KINDS[case.optimizer]
    path = case.path if case.path in kind.flags else ""
    sparse = "sparse" in kind.takes and not path and (case.sparse or "dense" not in kind.takes)
    # What an optimizer counts has more digits where double is the default.
    counts = case.optimizer in ("ASGD", "NAdam") and case.setting == "double"
    return case.but(path=path, sparse=sparse, setting="half" if counts else case.setting)


AXES: dict[str, tuple[Any, ...]] = {
    "optimizer": STEPPED,
    "path": ("", "foreach", "fused"),
    "setting": tuple(SETTINGS)[1:],
    "late": (0, 1),
    "sparse": (False, True),
}


def scope() -> Iterator[DefaultDeviceDtypeCase]:
    """Every optimizer on each path in each setting, from the first step on or later."""
    rows = (DefaultDeviceDtypeCase(*values) for values in itertools.product(*AXES.values()))
    return (case.but(seed=seed) for seed, case in enumerate(dict.fromkeys(map(repair, rows))))


SPACE = Space(DefaultDeviceDtypeCase, AXES, repair, scope, flags=("optimizer", "path", "setting"), strength=2)
