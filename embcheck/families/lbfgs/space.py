"""Which cases of lbfgs there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.lbfgs.cases import LBFGSCase
from embcheck.families.lbfgs.programs import minimized


def plan(case: LBFGSCase) -> Plan:
    options = {"flags": case.flags, "curvature": case.curvature, "steps": case.steps, "reloaded": case.reloaded}
    return Plan(minimized, case.inputs(), options)


def repair(case: LBFGSCase) -> LBFGSCase:
    """The case whose line search is looked at after each of its iterations."""
    if case.line_search:
        case = case.but(iterations=1, tolerance=0.0, evaluations="enough")
    return case.but(reloaded=case.reloaded and case.steps > 1)


AXES: dict[str, tuple[Any, ...]] = {
    # Numbers of elements of which no multiple of a scale is a tolerance.
    "shape": ((2, 2), (1, 1), (4, 2), (1, 8), (4, 4), (16, 8)),
    "beside": (0, 4, 8, 3),
    "lr": (0.5, 1.0),
    "iterations": (3, 1, 2, 5, 8),
    "history": (100, 1, 2, 3),
    "curvature": (1.0, 4.0, 0.25),
    "tolerance": (0.0, 0.15, 3e-4),
    "evaluations": ("enough", "default", "two"),
    "steps": (2, 1, 3),
    "reloaded": (False, True),
    "line_search": (False, True),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[LBFGSCase]:
    """Every length of a history beside every number of iterations, in one step or several, loaded between them or not."""
    taken = itertools.product(AXES["history"], AXES["iterations"], AXES["steps"], AXES["reloaded"], AXES["dtype"])
    for seed, (history, iterations, steps, reloaded, dtype) in enumerate(taken):
        turning = {
            "shape": AXES["shape"][seed % 6],
            "beside": (0, 4)[seed % 3 == 1],
            "curvature": AXES["curvature"][seed % 3],
        }
        case = LBFGSCase(lr=(0.5, 1.0)[seed % 5 == 4], iterations=iterations, history=history, steps=steps, reloaded=reloaded,
                           dtype=dtype, seed=seed).but(**turning)  # fmt: skip
        for changes in ({}, {"tolerance": 0.15}, {"line_search": True}, {"evaluations": ("default", "two")[seed % 2]}):
            yield repair(case.but(**changes))


SPACE = Space(LBFGSCase, AXES, repair, scope, flags=("line_search", "reloaded", "history"), strength=2)
