"""Which cases of parameter there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.parameter.cases import SHAPES, ParameterCase
from embcheck.families.parameter.creation import MAKINGS, ORIGINS, OWNERS, PLACES, UNDER
from embcheck.families.parameter.invalid_calls import WRONG, wrongly
from embcheck.families.parameter.programs import leafed


def plan(case: ParameterCase) -> Plan:
    fed = case.inputs()
    if case.wrong is not None:
        return Plan(wrongly, {"data": fed["data"]}, {"attempt": WRONG[case.wrong][0]})
    options = {
        "origin": ORIGINS[case.origin],
        "make": MAKINGS[case.make],
        "under": UNDER[case.under],
        "place": PLACES[case.place],
        "owner": OWNERS[case.owner],
        "requires_grad": case.requires_grad,
        "slot": case.slot,
        "slot_before": case.before,
        "evaluating": case.evaluating,
        "times": case.times,
    }
    return Plan(leafed, fed, options)


def repair(case: ParameterCase) -> ParameterCase | None:
    """The case; what is attempted wrongly has simple axes otherwise."""
    if case.wrong is not None:
        return ParameterCase(case.shape, dtype=case.dtype, layout=case.layout, wrong=case.wrong)
    if case.before in OTHERS and case.place in ("registered", "in_the_dict"):
        return case.but(place="assigned")  # what is there already is refused, or hides what is put into the dictionary
    return case


#: What else than a Parameter may have had the slot's name.
OTHERS = ("a_module", "a_buffer", "a_number")


AXES: dict[str, tuple[Any, ...]] = {
    "shape": SHAPES,
    "origin": tuple(ORIGINS),
    "make": tuple(MAKINGS),
    "requires_grad": (True, False),
    "under": tuple(UNDER),
    "times": (1, 2, 3, 5),
    "place": tuple(PLACES),
    "owner": tuple(OWNERS),
    "slot": ("weight", "bias", "embeddings"),
    "before": ("none", "alike", "double", "frozen", "other_shape", "absent", "a_module", "a_buffer", "a_number"),
    "evaluating": (False, True),
    "dtype": tuple(FORMATS),
    "layout": LAYOUTS,
    "values": ("small", "special"),
}


def scope() -> Iterator[ParameterCase]:
    """Every shape in every layout and dtype of every origin; every place; everything that must be refused."""
    origins = tuple(ORIGINS)
    for seed, (shape, layout, dtype) in enumerate(itertools.product(SHAPES, LAYOUTS, FORMATS)):
        yield ParameterCase(
            shape, origins[seed % len(origins)], dtype=dtype, layout=layout, requires_grad=bool(seed % 3), seed=seed
        )
    for seed, (origin, make, under, grad) in enumerate(itertools.product(ORIGINS, MAKINGS, UNDER, (True, False))):
        layout = ("contiguous", "transposed", "offset")[seed % 3]
        yield ParameterCase(
            (2, 3), origin, make, grad, under, times=1 + seed % 3, layout=layout, values="special", seed=seed
        )
    owned = itertools.product(PLACES, AXES["before"], OWNERS, (True, False), (False, True))
    for seed, (place, before, owner, grad, mode) in enumerate(owned):
        axes = {"place": place, "before": before, "owner": owner, "slot": AXES["slot"][seed % 3]}
        if not (before in OTHERS and place in ("registered", "in_the_dict")):
            yield ParameterCase((2, 2), requires_grad=grad, evaluating=mode, layout="transposed", **axes)
    for wrong, shape in itertools.product(WRONG, ((), (0,))):
        yield ParameterCase(shape, wrong=wrong)


def fixed_cases() -> Iterator[ParameterCase]:
    """Everything that must be refused, in every profile."""
    for wrong in WRONG:
        yield ParameterCase((2, 3), wrong=wrong)
    for before in OTHERS:
        yield ParameterCase((2, 3), before=before)


SPACE = Space(
    ParameterCase, AXES, repair, scope, fixed_cases, flags=("origin", "under", "requires_grad", "dtype"), strength=2
)
