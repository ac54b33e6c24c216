"""An optimizer that steps while torch's default device or dtype is another, as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS


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
        found: dict[str, Any] = {"lr": 0.5}
        if self.path:
            found[self.path] = True
        if self.decay:
            found["weight_decay"] = self.decay
        return found

    def inputs(self) -> dict[str, Input]:
        """What is fed."""
        fmt = FORMATS[self.dtype]
        return {
            "weight": Input(fmt.encode(stream.small("weight", self.seed, (self.rows, 2))), self.dtype),
            "grads": Input(fmt.encode(stream.small("grads", self.seed, (self.steps, self.rows, 2))), self.dtype),
        }

    def facts(self) -> dict[str, Any]:
        """The axes."""
        return {**self.axes}
