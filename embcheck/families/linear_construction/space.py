"""Which cases of linear_construction there are, and which program runs each."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from embcheck.core.axes import Axes
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.linear_construction.programs import LAYERS, layered


class _LayerAxes(NamedTuple):
    """The axes, simplest value first."""

    inputs: int = 3
    outputs: int = 2
    bias: Any = True
    make: str = "positional"
    dtype: str = "float32"
    seed: int = 0


class LinearConstructionCase(Axes, _LayerAxes):  # type: ignore[misc]
    """A linear layer that is made."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of weight and bias."""
        return [(self.outputs, self.inputs), *([(self.outputs,)] if self.bias else [])]

    def facts(self) -> dict[str, Any]:
        """The axes and: falsy_bias (none, said in another way), elements."""
        falsy = not self.bias and self.bias is not False
        return {**self.axes, "falsy_bias": falsy, "elements": sum(math.prod(shape) for shape in self.shapes)}


def plan(case: LinearConstructionCase) -> Plan:
    options = {"make": LAYERS[case.make], **{name: value for name, value in case.axes.items() if name != "make"}}
    return Plan(layered, {}, options)


AXES: dict[str, tuple[Any, ...]] = {
    "inputs": (3, 1, 2, 4, 0, 17, 65),
    "outputs": (2, 1, 3, 0, 17, 65),
    "bias": (True, False, None, 0, 1),
    "make": tuple(LAYERS),
    "dtype": tuple(FORMATS),
}


def scope() -> Iterator[LinearConstructionCase]:
    """Every way to make it with every bias and dtype."""
    made = itertools.product(LAYERS, AXES["bias"], FORMATS, ((3, 2), (0, 2), (2, 0), (33, 9)))
    for seed, (make, bias, dtype, (inputs, outputs)) in enumerate(made):
        yield LinearConstructionCase(inputs, outputs, bias, make, dtype, seed)


SPACE = Space(LinearConstructionCase, AXES, lambda case: case, scope, flags=("make", "bias", "dtype"), strength=2)
