"""Affine: a linear layer is xAᵀ + b for inputs of every rank, whatever trains and however it is called."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import stream
from embcheck.comparison import every, is_true, refuses, same, unwritten, within
from embcheck.construction.affine import BETWEEN, CALLS, MADE, MISFITS, affine, misfit
from embcheck.construction.affine_case import LEADS, LONG, SIZES, WIDE, AffineCase
from embcheck.format import FORMATS
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS, SHARED, UPSTREAM_LAYOUTS, row_major
from embcheck.outcome import Outcome
from embcheck.result import Difference, Finding
from embcheck.space import Space

TRAINS = tuple((a, b, c) for a in (False, True) for b in (False, True) for c in (False, True))
#: Ways to call a layer that call its hooks.
HOOKED = ("module", "sequential", "functional_call")
VALUES = ("small", "fine", "input_nan", "weight_nan", "bias_nan", "input_inf", "weight_-inf", "bias_inf")
#: Nothing but NaN, or infinity, in every row but one.
OTHER_ROWS = ("other_rows_nan", "other_rows_inf")
#: Sizes on both sides of where tiles and vectors of 16 and 32 end.
TAILS = ((31, 48), (33, 64), (65, 48), (36, 33))


def plan(case: AffineCase) -> Plan:
    if case.misfit is not None:
        fed = {name: given for name, given in case.inputs().items() if name != "upstream"}
        return Plan(misfit, fed, {"attempt": MISFITS[case.misfit], "device": case.device})
    options = {
        "made": MADE[case.made],
        "call": CALLS[case.call],
        "between": BETWEEN[case.between],
        "trains": case.trains,
        "evaluating": case.evaluating,
        "grad_mode": case.grad_mode,
        "autocast": case.autocast,
        "together": case.together,
        "cached": not case.outdated,
        "times": case.times,
    }
    return Plan(affine, case.inputs(), options)


def canonical(case: AffineCase) -> AffineCase | None:
    """The case with layouts that its numbers can have."""
    changes: dict[str, Any] = {}
    if case.misfit is not None:
        lead = case.lead or (2,)
        sizes: dict[str, Any] = {
            "width": max(case.width, 2),
            "outputs": max(case.width, 2) + 1,
            "lead": lead if 0 not in lead else (2,),
        }
        return AffineCase(dtype=case.dtype, misfit=case.misfit, bias=True, device=case.device, seed=case.seed, **sizes)
    changes["device"] = ""
    if case.autocast != "on" or case.times == 1 or case.values == "fine":
        changes["together"] = False
    elif case.together and case.grad_mode == "enabled":
        changes["grad_mode"] = "no_grad"  # a backward pass does not belong into such a region
    if case.weight_layout == "expanded":
        changes["weight_layout"] = "column_slice"
    if case.bias_layout == "expanded":
        changes["bias_layout"] = "strided"
    if case.call.startswith("vector"):
        changes["outputs"] = 1
    if case.made.startswith("fused"):
        changes["bias"] = True  # which takes what the norm subtracts
    if case.values == "fine":
        changes["autocast"] = "off"  # which rounds the weight
    if case.is_special:
        changes |= {"trains": (False, case.trains[1], case.trains[2]), "grad_mode": "no_grad"}
        if case.is_one_row:  # the input's gradient is apart row by row as well
            changes |= {"trains": (True, False, False), "grad_mode": "enabled", "together": False}
            if case.upstream_layout in ("expanded", *SHARED):
                changes["upstream_layout"] = "offset"
        if case.values.startswith("bias"):
            changes["bias"] = True
        if case.input_layout == "expanded":
            changes["input_layout"] = "strided"
    if case.upstream_layout == "expanded" and not case.outputs:
        changes["upstream_layout"] = "contiguous"
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "width": SIZES,
    "outputs": SIZES[1:],
    "lead": LEADS,
    "bias": (False, True),
    "made": tuple(MADE),
    "call": tuple(CALLS),
    "between": tuple(BETWEEN),
    "times": (1, 2, 3, 4),
    "trains": TRAINS,
    "evaluating": (False, True),
    "grad_mode": ("enabled", "no_grad", "inference"),
    "autocast": ("off", "on", "left"),
    "dtype": tuple(FORMATS),
    "input_layout": LAYOUTS,
    "weight_layout": LAYOUTS,
    "bias_layout": ("contiguous", "strided", "offset"),
    "upstream_layout": UPSTREAM_LAYOUTS,
    "values": (*VALUES, *OTHER_ROWS),
    "together": (False, True),
}


def scope() -> Iterator[AffineCase]:
    """Every rank with everything that may train, in every dtype; every small size; every misfit."""
    shaped = itertools.product(LEADS, TRAINS, (False, True))
    for seed, (lead, trains, bias) in enumerate(shaped):
        layout = LAYOUTS[seed % 6]
        dtype = tuple(FORMATS)[seed % 4]
        yield from _fitted(
            AffineCase(lead=lead, trains=trains, bias=bias, dtype=dtype, weight_layout=layout, seed=seed)
        )
    for width, outputs, lead, bias in itertools.product(range(4), range(4), LEADS[:12], (False, True)):
        yield from _fitted(AffineCase(width, outputs, lead, bias, trains=(True, True, True), seed=width + outputs))
    calls = itertools.product(CALLS, BETWEEN, (False, True), AXES["grad_mode"], AXES["autocast"], LEADS[:6])
    for seed, (call, between, evaluating, mode, autocast, lead) in enumerate(calls):
        if between == "doubled_behind_failures" and (evaluating or lead != LEADS[0]):
            continue
        axes = {"call": call, "between": between, "evaluating": evaluating, "grad_mode": mode, "autocast": autocast}
        layout, dtype = ("transposed", "contiguous")[seed % 2], tuple(FORMATS)[seed % 3]
        case = AffineCase(3, 3, lead, bool(seed % 3), **axes, times=3, weight_layout=layout, dtype=dtype, seed=seed)
        yield from _fitted(case)
    # Where a block of any usual size leaves a remainder, or none; in formats that tell one term of a thousand.
    wide = itertools.product(WIDE, ((5,), (2, 2), (), (2, 1, 3)), (False, True), ("float32", "float64"))
    for seed, (wide_size, lead, bias, dtype) in enumerate(wide):
        width, outputs = (wide_size, 5) if seed % 3 else (5, wide_size)
        yield from _fitted(AffineCase(width, outputs, lead, bias, trains=(True, True, True), dtype=dtype, seed=seed))
        yield from _fitted(AffineCase(outputs, width, lead, bias, dtype=dtype, grad_mode="no_grad", seed=seed))
    for seed, (lead, trains, bias) in enumerate(itertools.product(LEADS, TRAINS[1::2], (False, True))):
        case = AffineCase(SIZES[seed % 5], 1, lead, bias, trains=trains, dtype=tuple(FORMATS)[seed % 4], seed=seed)
        yield from _fitted(case.but(call=("vector", "vector_in_vjp")[seed // 2 % 2]))
        yield from _fitted(case.but(made=(*MADE,)[1 + seed % (len(MADE) - 1)], outputs=SIZES[seed // 5 % 7]))
    kept = itertools.product(CALLS, BETWEEN, ("no_grad", "inference"), TRAINS[1:6:2], LEADS[:2])
    for seed, (call, between, mode, trains, lead) in enumerate(kept):
        axes = {
            "call": call,
            "between": between,
            "grad_mode": mode,
            "trains": trains,
            "dtype": tuple(FORMATS)[seed // 2 % 4],
        }
        yield from _fitted(
            AffineCase(3, 2, lead, bool(seed % 3), times=2, autocast="on", together=True, seed=seed, **axes)
        )
    broken = itertools.product(CALLS, ("nothing", "doubled"), AXES["grad_mode"], (False, True))
    for seed, (call, between, mode, bias) in enumerate(broken):
        axes = {"call": call, "between": between, "grad_mode": mode, "bias": bias, "autocast": "broken"}
        yield from _fitted(AffineCase(3, 2, ((2,), (2, 2))[seed % 2], times=2, seed=seed, **axes))
    spoilt = itertools.product(VALUES, LEADS[:10], LAYOUTS[:3], FORMATS)
    for seed, (values, lead, layout, dtype) in enumerate(spoilt):
        case = AffineCase(3, 2, lead, bool(seed % 2), values=values, weight_layout=layout, dtype=dtype, seed=seed)
        yield from _fitted(case)


def landmarks() -> Iterator[AffineCase]:
    """Every misfit, in every profile."""
    for name, dtype, lead in itertools.product(MISFITS, FORMATS, ((2,), (), (2, 2), (1, 2, 3))):
        yield from _fitted(AffineCase(misfit=name, dtype=dtype, lead=lead))
        yield from _fitted(AffineCase(misfit=name, dtype=dtype, lead=lead, device="meta"))
    # Where a count of inputs, outputs or rows leaves fifteen bits.
    for seed, size in enumerate(LONG):
        for kind, (width, outputs, lead) in enumerate(((size, 2, (1,)), (1, size, (2,)), (2, 1, (size,)))):
            trains = (kind != 2, True, True)
            yield from _fitted(AffineCase(width, outputs, lead, bool((seed + kind) % 2), trains=trains, seed=seed))
    # Batches whose axes have one size, in every order of memory: nothing but the strides tells them apart.
    square = itertools.product(((2, 2), (3, 3), (2, 2, 2)), LAYOUTS, (False, True))
    for seed, (lead, layout, bias) in enumerate(square):
        sizes = ((3, 2), (lead[0], lead[0]))[seed % 2]
        yield from _fitted(AffineCase(*sizes, lead, bias, dtype=tuple(FORMATS)[seed // 2 % 4], input_layout=layout,
                                      upstream_layout=LAYOUTS[seed % len(LAYOUTS)], seed=seed))  # fmt: skip

    # One row alone has numbers, where tiles have tails, in memory with gaps and without.
    tails = itertools.product(TAILS, ((5,), (17,), (32,), (2, 17)), OTHER_ROWS, FORMATS)
    for seed, ((width, outputs), lead, values, dtype) in enumerate(tails):
        for layout in ("contiguous", LAYOUTS[1 + seed % (len(LAYOUTS) - 2)]):
            case = AffineCase(width, outputs, lead, dtype=dtype, values=values, seed=seed, trains=(True, False, False))
            yield from _fitted(case.but(input_layout=layout, upstream_layout=layout, bias=bool(seed % 2)))
            yield from _fitted(case.but(input_layout=layout, autocast="on", bias=bool(seed % 2)))


def _fitted(case: AffineCase) -> Iterator[AffineCase]:
    fitted = canonical(case)
    if fitted is not None:
        yield fitted


def draw(draws: stream.Stream) -> AffineCase | None:
    """A random case: each axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    return canonical(AffineCase(**chosen, seed=draws.between(0, 255)))


affine_family = Family(
    "affine",
    Space(
        AffineCase,
        AXES,
        canonical,
        scope,
        landmarks,
        flags=("bias", "trains", "dtype", "grad_mode"),
        draw=draw,
        strength=2,
    ),
    plan,
    refused=lambda case: case.misfit is not None,
    cost=3.0,
    stride=3,
)
law = affine_family.law


@law(
    "Every call of a linear layer gives xAᵀ + b with the weight and bias of that moment; NaN and infinity spread as they do.",
    source="nn.Linear: y = xAᵀ + b; input (*, H_in), output (*, H_out)",
    obliges={
        "rank=1",
        "rank=4",
        "rank=5",
        "empty",
        "width=0",
        "outputs=0",
        "times=3",
        "special",
        "between=doubled_data",
        "between=doubled_behind_failures",
        "bias",
        "vector",
        "kept",
    },
)
def layer_is_affine(case: AffineCase, out: Outcome) -> Finding:
    found = [within(out.values[turn], *case.value(turn)) for turn in range(case.times)]
    return every(*found)


@law(
    "A layer is a Linear of the sizes that it was given or, lazily, that its first input has; its parameters learn, and "
    "were drawn from ±1/√in_features.",
    source="nn.LazyLinear: the weight and bias are initialized in the first call; nn.Linear: U(−√k, √k)",
    obliges={"lazy", "bias", "width=0", "outputs=0", "rank=1", "empty", "made=lazy_and_evaluated", "dtype=float16"},
)
def layers_are_born_of_their_input(case: AffineCase, out: Outcome) -> Finding:
    shapes = {"weight": (case.outputs, case.width)} | ({"bias": (case.outputs,)} if case.bias else {})
    born = [(name, shape, True) for name, shape in shapes.items()]
    # The bound is rounded to the layer's format, in which the numbers are drawn.
    limit = (1 + 2 * case.format.unit_roundoff) / max(case.width, 1) ** 0.5
    drawn = [out.drawn.entry(name) for name in shapes] if case.width else []
    return every(
        same(out.became, ("Linear", case.width, case.outputs, True, born)),
        *(within(each, np.zeros(each.raw.shape), np.full(each.raw.shape, limit)) for each in drawn),
    )


@law(
    "The output is new and row-major, of the layer's dtype (bfloat16 under autocast), and part of a graph if anything trains.",
    source="nn.Linear; Automatic Mixed Precision: CPU ops that autocast to bfloat16",
    obliges={"bias_alone", "input_alone", "grad_mode=inference", "autocast=on", "autocast=broken", "empty"},
)
def affine_output_is_new(case: AffineCase, out: Outcome) -> Finding:
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
    "Input, weight and bias collect Gᵀ-products of every call, where they train, and nothing where they do not.",
    source="nn.Linear: the chain rule",
    obliges={
        "bias_alone",
        "input_alone",
        "rank=1",
        "rank=4",
        "rank=5",
        "empty",
        "times=3",
        "between=doubled",
        "width=0",
    },
    when=lambda case: not case.is_special,
)
def affine_parts_collect(case: AffineCase, out: Outcome) -> Finding:
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
    "Row i of the output depends on row i of the input alone, and row i of the input's gradient on row i of the upstream "
    "gradient: the other rows, and what lies between the rows, may be NaN or infinite.",
    source="nn.Linear: y = xAᵀ + b, row by row",
    obliges={
        *(f"values={name}" for name in OTHER_ROWS),
        *(f"width={width} & rows={rows}" for width, rows in itertools.product((31, 33, 65), (5, 17, 32))),
        "dtype=bfloat16 & reads_on",
        "autocast=on & reads_on",
        "input_layout=row_strided & rows=32",
        "bias",
        "rank=3",
    },
    when=lambda case: case.is_one_row and case.rows,
)
def rows_are_apart(case: AffineCase, out: Outcome) -> Finding:
    row = tuple(int(place) for place in np.unravel_index(case.row, case.lead))
    values = [case.value(turn) for turn in range(case.times)]
    found = [within(out.values[(turn, *row)], *(part[row] for part in value)) for turn, value in enumerate(values)]
    return every(*found, within(out.input_grad[row], *case.row_gradient()))


@law(
    "A call writes nothing: not to its input, weight, bias or upstream gradient, nor to what lies around them.",
    source="no side effects",
)
def affine_writes_nothing(case: AffineCase, out: Outcome) -> Finding:
    written = ("weight", "bias") if case.between.startswith("doubled") else ()
    return every(
        is_true(out.unmoved, "a call counted as a write"),
        is_true(out.training, "a call changed the mode"),
        unwritten(out, *written),
    )


@law(
    "A scalar input, another width, a bias of another length and mixed dtypes are refused.",
    source="nn.Linear: shape; F.linear",
    obliges={f"misfit={name}" for name in MISFITS} | {"device=meta"},
    refusal=True,
)
def misfits_of_a_layer_are_refused(case: AffineCase, out: Outcome) -> Finding:
    return every(refuses(out, RuntimeError), unwritten(out))


test_scope, test_product, test_random = affine_family.tests()
