"""Layer: a linear layer is made with the sizes, dtype and bias that are asked for, and draws within ±1/√in_features."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.axes import Axes
from embcheck.comparison import every, identical, is_true, same
from embcheck.construction.layer import LAYERS, layered
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.result import Difference, Finding
from embcheck.space import Space


class _LayerAxes(NamedTuple):
    """The axes, simplest value first."""

    inputs: int = 3
    outputs: int = 2
    bias: Any = True
    make: str = "positional"
    dtype: str = "float32"
    seed: int = 0


class LayerCase(Axes, _LayerAxes):  # type: ignore[misc]
    """A linear layer that is made."""

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Of weight and bias."""
        return [(self.outputs, self.inputs), *([(self.outputs,)] if self.bias else [])]

    def facts(self) -> dict[str, Any]:
        """The axes and: falsy_bias (none, said in another way), elements."""
        falsy = not self.bias and self.bias is not False
        return {**self.axes, "falsy_bias": falsy, "elements": sum(math.prod(shape) for shape in self.shapes)}


def plan(case: LayerCase) -> Plan:
    options = {"make": LAYERS[case.make], **{name: value for name, value in case.axes.items() if name != "make"}}
    return Plan(layered, {}, options)


AXES: dict[str, tuple[Any, ...]] = {
    "inputs": (3, 1, 2, 4, 0, 17, 65),
    "outputs": (2, 1, 3, 0, 17, 65),
    "bias": (True, False, None, 0, 1),
    "make": tuple(LAYERS),
    "dtype": tuple(FORMATS),
}


def scope() -> Iterator[LayerCase]:
    """Every way to make it with every bias and dtype."""
    made = itertools.product(LAYERS, AXES["bias"], FORMATS, ((3, 2), (0, 2), (2, 0), (33, 9)))
    for seed, (make, bias, dtype, (inputs, outputs)) in enumerate(made):
        yield LayerCase(inputs, outputs, bias, make, dtype, seed)


layer = Family(
    "layer",
    Space(LayerCase, AXES, lambda case: case, scope, flags=("make", "bias", "dtype"), strength=2),
    plan,
    cost=4.0,
)
law = layer.law


@law(
    "A linear layer has weight and bias of the sizes, dtype and device asked for; a falsy bias is none.",
    source="nn.Linear: in_features, out_features, bias, device, dtype",
    obliges={"falsy_bias", "bias=False", "dtype=float16", "make=on_meta", "make=emptied", "inputs=0", "outputs=0"},
)
def layer_is_as_asked(case: LayerCase, out: Outcome) -> Finding:
    names = ["weight", "bias"][: len(case.shapes)]
    device = "meta" if case.make == "on_meta" else "cpu"
    return every(
        same(out.names, names),
        same(out.keys, names),
        same(out.has_bias, bool(case.bias)),
        is_true(out.registered, "the bias has no slot"),
        same(out.sizes, [case.inputs, case.outputs]),
        same(out.shapes, case.shapes),
        same(out.dtypes, [case.dtype] * len(names)),
        same(out.devices, [device] * len(names)),
        is_true(out.kinds, "weight or bias is no contiguous leaf Parameter"),
        is_true(out.trains, "weight or bias does not require grad, or has a gradient"),
        is_true(out.training, "a new layer evaluates"),
        same(out.shown, f"Linear(in_features={case.inputs}, out_features={case.outputs}, bias={bool(case.bias)})"),
    )


@law(
    "Weight and bias are drawn within ±1/√in_features, not zero, seeded alike alike, and anew each time.",
    source="nn.Linear: U(−√k, √k), k = 1/in_features",
    obliges={"make=reset_twice", "make=skipped", "dtype=bfloat16"},
    when=lambda case: case.make != "on_meta" and case.inputs > 0 and case.outputs > 0,
)
def layer_draws_its_values(case: LayerCase, out: Outcome) -> Finding:
    values = out.values.values
    most = 1 / math.sqrt(case.inputs) * (1 + 2 * FORMATS[case.dtype].unit_roundoff)
    if np.abs(values).max() > most:
        words = f"{np.abs(values).max():g} is larger than {most:g}"
        return Difference("range", f"{out.values.path}.abs().max().item() <= {float(most)!r}", False, True, words)
    drawn = values.size > 8
    weights = case.inputs * case.outputs
    for name, place in (("weight", f"[:{weights}]"), ("bias", f"[{weights}:]")):
        part = values[:weights] if name == "weight" else values[weights:]
        if part.size > 2 and len(set(part.tolist())) < 2:
            path = f"len({out.values.path}{place}.unique()) > 1"
            return Difference("undrawn", path, False, True, f"all of the {name} is {part[0]:g}")
    if drawn and np.array_equal(out.following.values, values):
        path = f"torch.equal({out.following.path}, {out.values.path})"
        return Difference("repeated", path, True, False, "two layers are equal")
    return every(
        identical(out.again, out.values),
        identical(out.copied, out.values),
        is_true(out.apart, "a copy shares memory"),
        is_true(out.drew, "no random number was drawn"),
    )


test_scope, test_product, test_random = layer.tests()
