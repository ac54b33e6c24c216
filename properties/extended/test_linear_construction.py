"""Layer: a linear layer is made with the sizes, dtype and bias that are asked for, and draws within ±1/√in_features."""

from __future__ import annotations

import math

import numpy as np

from embcheck.core.comparison import every, identical, is_true, same
from embcheck.core.format import FORMATS
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, Finding
from embcheck.families.linear_construction.space import SPACE, LinearConstructionCase, plan

linear_construction = Family(
    "linear_construction",
    SPACE,
    plan,
    cost=4.0,
)
law = linear_construction.law


@law(
    "A linear layer has weight and bias of the given sizes, dtype and device.",
    source="nn.Linear: in_features, out_features, bias, device, dtype",
    must_cover={"falsy_bias", "bias=False", "dtype=float16", "make=on_meta", "make=emptied", "inputs=0", "outputs=0"},
)
def linear_constructor_stores_its_arguments(case: LinearConstructionCase, out: Outcome) -> Finding:
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
    "Weight and bias are drawn within ±1/√in_features, the same for the same seed.",
    source="nn.Linear: U(−√k, √k), k = 1/in_features",
    must_cover={"make=reset_twice", "make=skipped", "dtype=bfloat16"},
    when=lambda case: case.make != "on_meta" and case.inputs > 0 and case.outputs > 0,
)
def linear_draws_uniform_parameters(case: LinearConstructionCase, out: Outcome) -> Finding:
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


test_scope, test_product, test_random = linear_construction.tests()
