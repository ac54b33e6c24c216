"""Which cases of gradient there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.case import LookupCase
from embcheck.core.space import Space
from embcheck.families.gradient import routes as derivative
from embcheck.families.lookup import cases
from embcheck.families.lookup.aimed import aimed_gradient
from embcheck.families.lookup.prior_calls import past_cases
from embcheck.families.lookup.programs import ROUTES
from embcheck.families.lookup.spelling import spelled


def scope() -> Iterator[LookupCase]:
    plain = cases.small_cases()
    flagged = (
        case
        for flags in ({"scale_grad_by_freq": True}, {"sparse": True}, {"route": "double_backward"})
        for case in cases.small_cases(**flags)
    )
    shaped = (case for route in ROUTES for case in cases.shape_cases(route=route))
    fixtures: tuple[dict[str, Any], ...] = ({}, {"sparse": True}, {"scale_grad_by_freq": True})
    sized = (case for fixed in fixtures for case in cases.size_cases(**fixed))
    by_entry = (case for entry in spelled() for case in cases.shape_cases(entry=entry))
    later = (case.but(**fixed) for fixed in fixtures for case in past_cases())
    alike = (case for fixed in fixtures for case in cases.coincident_cases(**fixed))
    every = itertools.chain(plain, flagged, shaped, by_entry, later, alike, sized)
    return (case for case in map(derivative.repair, every) if case)


SPACE = Space(
    LookupCase,
    derivative.AXES,
    derivative.repair,
    scope,
    derivative.fixed_cases,
    flags=("route", "padding_idx", "scale_grad_by_freq", "sparse", "dtype"),
    base={"shape": (2, 3)},
    draw=lambda draws: derivative.repair(cases.threshold_case(draws, derivative.AXES)),
    smaller=cases.smaller_tables,
    aim=aimed_gradient,
    aims=4.25,
)
