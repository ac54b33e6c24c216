"""Which cases of linear there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, SHARED, UPSTREAM_LAYOUTS
from embcheck.core.space import Space
from embcheck.families.linear.cases import LEADS, LONG, SIZES, WIDE, LinearCase
from embcheck.families.linear.programs import BETWEEN, CALLS, MADE, MISFITS, affine, misfit

TRAINS = tuple((a, b, c) for a in (False, True) for b in (False, True) for c in (False, True))


VALUES = ("small", "fine", "input_nan", "weight_nan", "bias_nan", "input_inf", "weight_-inf", "bias_inf")


#: Nothing but NaN, or infinity, in every row but one.
OTHER_ROWS = ("other_rows_nan", "other_rows_inf")


#: Sizes on both sides of where tiles and vectors of 16 and 32 end.
TAILS = ((31, 48), (33, 64), (65, 48), (36, 33))


def plan(case: LinearCase) -> Plan:
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


def repair(case: LinearCase) -> LinearCase | None:
    """The case with layouts that its numbers can have."""
    changes: dict[str, Any] = {}
    if case.misfit is not None:
        lead = case.lead or (2,)
        sizes: dict[str, Any] = {
            "width": max(case.width, 2),
            "outputs": max(case.width, 2) + 1,
            "lead": lead if 0 not in lead else (2,),
        }
        return LinearCase(dtype=case.dtype, misfit=case.misfit, bias=True, device=case.device, seed=case.seed, **sizes)
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


def scope() -> Iterator[LinearCase]:
    """Every rank with everything that may train, in every dtype; every small size; every misfit."""
    shaped = itertools.product(LEADS, TRAINS, (False, True))
    for seed, (lead, trains, bias) in enumerate(shaped):
        layout = LAYOUTS[seed % 6]
        dtype = tuple(FORMATS)[seed % 4]
        yield from _fitted(
            LinearCase(lead=lead, trains=trains, bias=bias, dtype=dtype, weight_layout=layout, seed=seed)
        )
    for width, outputs, lead, bias in itertools.product(range(4), range(4), LEADS[:12], (False, True)):
        yield from _fitted(LinearCase(width, outputs, lead, bias, trains=(True, True, True), seed=width + outputs))
    calls = itertools.product(CALLS, BETWEEN, (False, True), AXES["grad_mode"], AXES["autocast"], LEADS[:6])
    for seed, (call, between, evaluating, mode, autocast, lead) in enumerate(calls):
        if between == "doubled_behind_failures" and (evaluating or lead != LEADS[0]):
            continue
        axes = {"call": call, "between": between, "evaluating": evaluating, "grad_mode": mode, "autocast": autocast}
        layout, dtype = ("transposed", "contiguous")[seed % 2], tuple(FORMATS)[seed % 3]
        case = LinearCase(3, 3, lead, bool(seed % 3), **axes, times=3, weight_layout=layout, dtype=dtype, seed=seed)
        yield from _fitted(case)
    # Where a block of any usual size leaves a remainder, or none; in formats that tell one term of a thousand.
    wide = itertools.product(WIDE, ((5,), (2, 2), (), (2, 1, 3)), (False, True), ("float32", "float64"))
    for seed, (wide_size, lead, bias, dtype) in enumerate(wide):
        width, outputs = (wide_size, 5) if seed % 3 else (5, wide_size)
        yield from _fitted(LinearCase(width, outputs, lead, bias, trains=(True, True, True), dtype=dtype, seed=seed))
        yield from _fitted(LinearCase(outputs, width, lead, bias, dtype=dtype, grad_mode="no_grad", seed=seed))
    for seed, (lead, trains, bias) in enumerate(itertools.product(LEADS, TRAINS[1::2], (False, True))):
        case = LinearCase(SIZES[seed % 5], 1, lead, bias, trains=trains, dtype=tuple(FORMATS)[seed % 4], seed=seed)
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
            LinearCase(3, 2, lead, bool(seed % 3), times=2, autocast="on", together=True, seed=seed, **axes)
        )
    broken = itertools.product(CALLS, ("nothing", "doubled"), AXES["grad_mode"], (False, True))
    for seed, (call, between, mode, bias) in enumerate(broken):
        axes = {"call": call, "between": between, "grad_mode": mode, "bias": bias, "autocast": "broken"}
        yield from _fitted(LinearCase(3, 2, ((2,), (2, 2))[seed % 2], times=2, seed=seed, **axes))
    spoilt = itertools.product(VALUES, LEADS[:10], LAYOUTS[:3], FORMATS)
    for seed, (values, lead, layout, dtype) in enumerate(spoilt):
        case = LinearCase(3, 2, lead, bool(seed % 2), values=values, weight_layout=layout, dtype=dtype, seed=seed)
        yield from _fitted(case)


def fixed_cases() -> Iterator[LinearCase]:
    """Every misfit, in every profile."""
    for name, dtype, lead in itertools.product(MISFITS, FORMATS, ((2,), (), (2, 2), (1, 2, 3))):
        yield from _fitted(LinearCase(misfit=name, dtype=dtype, lead=lead))
        yield from _fitted(LinearCase(misfit=name, dtype=dtype, lead=lead, device="meta"))
    # Where a count of inputs, outputs or rows leaves fifteen bits.
    for seed, size in enumerate(LONG):
        for kind, (width, outputs, lead) in enumerate(((size, 2, (1,)), (1, size, (2,)), (2, 1, (size,)))):
            trains = (kind != 2, True, True)
            yield from _fitted(LinearCase(width, outputs, lead, bool((seed + kind) % 2), trains=trains, seed=seed))
    # Batches whose axes have one size, in every order of memory: nothing but the strides tells them apart.
    square = itertools.product(((2, 2), (3, 3), (2, 2, 2)), LAYOUTS, (False, True))
    for seed, (lead, layout, bias) in enumerate(square):
        sizes = ((3, 2), (lead[0], lead[0]))[seed % 2]
        yield from _fitted(LinearCase(*sizes, lead, bias, dtype=tuple(FORMATS)[seed // 2 % 4], input_layout=layout,
                                      upstream_layout=LAYOUTS[seed % len(LAYOUTS)], seed=seed))  # fmt: skip

    # One row alone has numbers, where tiles have tails, in memory with gaps and without.
    tails = itertools.product(TAILS, ((5,), (17,), (32,), (2, 17)), OTHER_ROWS, FORMATS)
    for seed, ((width, outputs), lead, values, dtype) in enumerate(tails):
        for layout in ("contiguous", LAYOUTS[1 + seed % (len(LAYOUTS) - 2)]):
            case = LinearCase(width, outputs, lead, dtype=dtype, values=values, seed=seed, trains=(True, False, False))
            yield from _fitted(case.but(input_layout=layout, upstream_layout=layout, bias=bool(seed % 2)))
            yield from _fitted(case.but(input_layout=layout, autocast="on", bias=bool(seed % 2)))


def _fitted(case: LinearCase) -> Iterator[LinearCase]:
    fitted = repair(case)
    if fitted is not None:
        yield fitted


def draw(draws: stream.Stream) -> LinearCase | None:
    """A random case: each axis at its first value half of the time."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    return repair(LinearCase(**chosen, seed=draws.between(0, 255)))


SPACE = Space(
    LinearCase,
    AXES,
    repair,
    scope,
    fixed_cases,
    flags=("bias", "trains", "dtype", "grad_mode"),
    draw=draw,
    strength=2,
)
