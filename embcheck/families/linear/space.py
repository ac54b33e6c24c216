"""Which cases of linear there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS, SHARED, UPSTREAM_LAYOUTS
from embcheck.core.rules import Rule, fitted
from embcheck.core.space import Space
from embcheck.families.linear.cases import LEADS, LONG, SIZES, WIDE, LinearCase
from embcheck.families.linear.programs import CALLS, MISFITS, affine, misfit

TRAINS = tuple((a, b, c) for a in (False, True) for b in (False, True) for c in (False, True))


VALUES = ("small", "fine", "input_nan", "weight_nan", "bias_nan", "input_inf", "weight_-inf", "bias_inf")


#: Nothing but NaN, or infinity, in every row but one.
OTHER_ROWS = ("other_rows_nan", "other_rows_inf")


#: Sizes on both sides of where tiles and vectors of 16 and 32 end.
TAILS = ((31, 48), (33, 64), (65, 48), (36, 33))


def plan(case: LinearCase) -> Plan:
    if case.misfit is not None:
        fed = {name: given for name, given in case.inputs().items() if name != "upstream"}
        return Plan(misfit, fed, {"attempt": MISFITS[case.misfit]})
    options = {name: case.axes[name] for name in ("doubled", "trains", "grad_mode", "autocast", "times")}
    return Plan(affine, case.inputs(), {"call": CALLS[case.call], **options})


_RULES: tuple[Rule, ...] = (
    (lambda c: c.upstream_layout == "expanded" and not c.outputs, {"upstream_layout": "contiguous"}),
    (lambda c: c.weight_layout == "expanded", {"weight_layout": "column_slice"}),
    (lambda c: c.call == "vector", {"outputs": 1}),
    (lambda c: c.values == "fine", {"autocast": False}),  # which rounds the weight
    (lambda c: c.is_special, {"grad_mode": "no_grad"}),
    # The input's gradient is apart row by row as well.
    (lambda c: c.is_one_row, {"trains": (True, False, False), "grad_mode": "enabled"}),
    (lambda c: c.is_one_row and c.upstream_layout in ("expanded", *SHARED), {"upstream_layout": "offset"}),
    (lambda c: c.values.startswith("bias"), {"bias": True}),
    (lambda c: c.is_special and c.input_layout == "expanded", {"input_layout": "strided"}),
)


def repair(case: LinearCase) -> LinearCase | None:
    """The case with layouts that its numbers can have."""
    if case.misfit is None:
        learning = (case.trains[0] and not case.is_special, *case.trains[1:])
        return fitted(case.but(trains=learning), _RULES)
    width = max(case.width, 2)
    lead = (2,) if not case.lead or 0 in case.lead else case.lead
    return LinearCase(width, width + 1, lead, True, dtype=case.dtype, misfit=case.misfit, seed=case.seed)


AXES: dict[str, tuple[Any, ...]] = {
    "width": SIZES,
    "outputs": SIZES[1:],
    "lead": LEADS,
    "bias": (False, True),
    "call": tuple(CALLS),
    "doubled": (False, True),
    "times": (1, 2, 3, 4),
    "trains": TRAINS,
    "grad_mode": ("enabled", "no_grad", "inference"),
    "autocast": (False, True),
    "dtype": tuple(FORMATS),
    "input_layout": LAYOUTS,
    "weight_layout": LAYOUTS,
    "bias_layout": ("contiguous", "strided", "offset"),
    "upstream_layout": UPSTREAM_LAYOUTS,
    "values": (*VALUES, *OTHER_ROWS),
}


def scope() -> Iterator[LinearCase]:
    """Every rank with everything that may train, in every dtype; every small size."""
    return filter(None, map(repair, itertools.chain(_shaped(), _called(), _wide())))


def _shaped() -> Iterator[LinearCase]:
    for seed, (lead, trains, bias) in enumerate(itertools.product(LEADS, TRAINS, (False, True))):
        case = LinearCase(lead=lead, trains=trains, bias=bias, dtype=tuple(FORMATS)[seed % 4], seed=seed)
        yield case.but(weight_layout=LAYOUTS[seed % 6])
        if trains[2]:
            yield case.but(width=SIZES[seed % 5], call="vector")
    for width, outputs, lead, bias in itertools.product(range(4), range(4), LEADS[:12], (False, True)):
        yield LinearCase(width, outputs, lead, bias, trains=(True, True, True), seed=width + outputs)


def _called() -> Iterator[LinearCase]:
    calls = itertools.product(CALLS, (False, True), AXES["grad_mode"], AXES["autocast"], LEADS[:6])
    for seed, (call, doubled, mode, autocast, lead) in enumerate(calls):
        axes = {"call": call, "doubled": doubled, "grad_mode": mode, "autocast": autocast}
        layout, dtype = ("transposed", "contiguous")[seed % 2], tuple(FORMATS)[seed % 3]
        yield LinearCase(3, 3, lead, bool(seed % 3), **axes, times=3, weight_layout=layout, dtype=dtype, seed=seed)
    for seed, (values, lead, layout, dtype) in enumerate(itertools.product(VALUES, LEADS[:10], LAYOUTS[:3], FORMATS)):
        yield LinearCase(3, 2, lead, bool(seed % 2), values=values, weight_layout=layout, dtype=dtype, seed=seed)


def _wide() -> Iterator[LinearCase]:
    """Where a block of any usual size leaves a remainder, or none; in formats that tell one term of a thousand."""
    wide = itertools.product(WIDE, ((5,), (2, 2), (), (2, 1, 3)), (False, True), ("float32", "float64"))
    for seed, (wide_size, lead, bias, dtype) in enumerate(wide):
        width, outputs = (wide_size, 5) if seed % 3 else (5, wide_size)
        yield LinearCase(width, outputs, lead, bias, trains=(True, True, True), dtype=dtype, seed=seed)
        yield LinearCase(outputs, width, lead, bias, dtype=dtype, grad_mode="no_grad", seed=seed)


def fixed_cases() -> Iterator[LinearCase]:
    """What must be refused, sizes beyond fifteen bits, batches whose axes have one size, and tails of tiles."""
    for name, dtype, lead in itertools.product(MISFITS, FORMATS, ((2,), (), (2, 2), (1, 2, 3))):
        yield LinearCase(misfit=name, dtype=dtype, lead=lead)
    # Where a count of inputs, outputs or rows leaves fifteen bits.
    for seed, size in enumerate(LONG):
        for kind, (width, outputs, lead) in enumerate(((size, 2, (1,)), (1, size, (2,)), (2, 1, (size,)))):
            trains = (kind != 2, True, True)
            yield LinearCase(width, outputs, lead, bool((seed + kind) % 2), trains=trains, seed=seed)
    # Batches whose axes have one size, in every order of memory: nothing but the strides tells them apart.
    square = itertools.product(((2, 2), (3, 3), (2, 2, 2)), LAYOUTS, (False, True))
    for seed, (lead, layout, bias) in enumerate(square):
        sizes = ((3, 2), (lead[0], lead[0]))[seed % 2]
        case = LinearCase(*sizes, lead, bias, dtype=tuple(FORMATS)[seed // 2 % 4], seed=seed)
        yield case.but(input_layout=layout, upstream_layout=LAYOUTS[seed % len(LAYOUTS)])
    # One row alone has numbers, where tiles have tails, in memory with gaps and without.
    tails = itertools.product(TAILS, ((5,), (17,), (32,), (2, 17)), OTHER_ROWS, FORMATS)
    for seed, ((width, outputs), lead, values, dtype) in enumerate(tails):
        for layout in ("contiguous", LAYOUTS[1 + seed % (len(LAYOUTS) - 2)]):
            case = LinearCase(width, outputs, lead, dtype=dtype, values=values, seed=seed, trains=(True, False, False))
            yield case.but(input_layout=layout, upstream_layout=layout, bias=bool(seed % 2))
            yield case.but(input_layout=layout, autocast=True, bias=bool(seed % 2))


_FLAGS = ("bias", "trains", "dtype", "grad_mode")
SPACE = Space(LinearCase, AXES, repair, scope, fixed_cases, _FLAGS, strength=2)
