"""Affine: a linear layer is xAᵀ + b for inputs of every rank, whatever trains and however it is called."""

from __future__ import annotations

import itertools

import numpy as np

from embcheck.core.comparison import every, is_true, refuses, same, unwritten, within
from embcheck.core.law import Family
from embcheck.core.layout import row_major
from embcheck.core.outcome import Outcome
from embcheck.core.result import Difference, Finding
from embcheck.families.linear.cases import LinearCase
from embcheck.families.linear.programs import MISFITS
from embcheck.families.linear.space import OTHER_ROWS, SPACE, plan

#: Ways to call a layer that call its hooks.
HOOKED = ("module", "functional_call")


affine_family = Family(
    "linear",
    SPACE,
    plan,
    refused=lambda case: case.misfit is not None,
    cost=3.0,
    stride=3,
)
law = affine_family.law


@law(
    "Every call of a linear layer gives xAᵀ + b, with NaN and infinity where they spread.",
    source="nn.Linear: y = xAᵀ + b; input (*, H_in), output (*, H_out)",
    must_cover={
        "rank=1",
        "rank=4",
        "rank=5",
        "empty",
        "width=0",
        "outputs=0",
        "times=3",
        "special",
        "doubled",
        "bias",
    }
    | {"vector"},
)
def linear_computes_its_formula(case: LinearCase, out: Outcome) -> Finding:
    found = [within(out.values[turn], *case.value(turn)) for turn in range(case.times)]
    return every(*found)


@law(
    "The output is new and contiguous, of the layer's dtype, bfloat16 under autocast.",
    source="nn.Linear; Automatic Mixed Precision: CPU ops that autocast to bfloat16",
    must_cover={"bias_alone", "input_alone", "grad_mode=inference", "autocast", "empty"},
)
def linear_output_is_a_new_tensor(case: LinearCase, out: Outcome) -> Finding:
    shape = (*case.lead, case.outputs)
    kinds = [(case.computed.name, case.learns, not case.learns)] * case.times
    return every(
        same(out.kinds, kinds),
        _row_major(out, shape, case.times),
        is_true(out.apart, "the output lies in the memory of an input or a parameter"),
        is_true(out.kept, "what is written to the output shows in an input or a parameter"),
        same(out.calls, ["before", "after"] * (case.times if case.call in HOOKED else 0)),
        is_true(out.filled, "the output's elements share memory"),
    )


def _row_major(out: Outcome, shape: tuple[int, ...], times: int) -> Finding:
    wide = [axis for axis, length in enumerate(shape) if length > 1 and 0 not in shape]
    wanted = [[row_major(shape)[axis] for axis in wide]] * times
    return same(out.strides.derived(f"[[strides[axis] for axis in {wide}] for strides in {{}}]"), wanted)


@law(
    "Input, weight and bias accumulate the gradients of every call where they require grad.",
    source="nn.Linear: the chain rule",
    must_cover={
        "bias_alone",
        "input_alone",
        "rank=1",
        "rank=4",
        "rank=5",
        "empty",
        "times=3",
        "doubled",
        "width=0",
    },
    when=lambda case: not case.is_special,
)
def linear_gradients_follow_the_chain_rule(case: LinearCase, out: Outcome) -> Finding:
    findings = [same(out.graded, case.learns)]
    for name, expected in case.gradients().items():
        got = getattr(out, f"{name}_grad")
        if (got.raw is None) != (expected is None):
            words = f"the {name} has {'no' if got.raw is None else 'a'} gradient"
            return Difference("gradient", f"seen['{name}_grad'] is None", got.raw is None, expected is None, words)
        if expected is not None:
            findings += [same(got.meta("dtype"), case.dtype), within(got, *expected)]
    return every(*findings)


@law(
    "Row i of the output depends on row i of the input alone, and so does its gradient.",
    source="nn.Linear: y = xAᵀ + b, row by row",
    must_cover={
        *(f"values={name}" for name in OTHER_ROWS),
        *(f"width={width} & rows={rows}" for width, rows in itertools.product((31, 33, 65), (5, 17, 32))),
        "dtype=bfloat16 & reads_on",
        "autocast & reads_on",
        "input_layout=row_strided & rows=32",
        "bias",
        "rank=3",
    },
    when=lambda case: case.is_one_row and case.rows,
)
def linear_rows_are_independent(case: LinearCase, out: Outcome) -> Finding:
    row = tuple(int(place) for place in np.unravel_index(case.row, case.lead))
    values = [case.value(turn) for turn in range(case.times)]
    found = [within(out.values[(turn, *row)], *(part[row] for part in value)) for turn, value in enumerate(values)]
    return every(*found, within(out.input_grad[row], *case.row_gradient()))


@law(
    "A call writes neither to its input, weight, bias or upstream gradient nor around them.",
    source="no side effects",
)
def linear_modifies_no_input(case: LinearCase, out: Outcome) -> Finding:
    written = ("weight", "bias") if case.doubled else ()
    return every(is_true(out.unmoved, "a call counted as a write"), unwritten(out, *written))


@law(
    "A scalar input, another width, a bias of another length and mixed dtypes raise.",
    source="nn.Linear: shape; F.linear",
    must_cover={f"misfit={name}" for name in MISFITS},
    refusal=True,
)
def invalid_linear_calls_raise(case: LinearCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out))


test_scope, test_product, test_random = affine_family.tests()
