"""Quasi-Newton: what L-BFGS does with a quadratic function of a tied weight, whose minimum it should know at once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import every, holds_if, within
from embcheck.format import FORMATS, Floats
from embcheck.law import Family, Plan
from embcheck.outcome import Outcome
from embcheck.result import HOLDS, Difference, Finding
from embcheck.space import Space
from embcheck.training.quasi_newton import minimized
from embcheck.training.quasi_newton_case import QuasiNewton

#: The curvature condition of the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, 3.7 and 3.1).
CURVATURE = 0.9
DECREASE = 1e-4


def plan(case: QuasiNewton) -> Plan:
    options = {"flags": case.flags, "curvature": case.curvature, "steps": case.steps, "reloaded": case.reloaded}
    return Plan(minimized, case.inputs(), options)


def canonical(case: QuasiNewton) -> QuasiNewton:
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


def scope() -> Iterator[QuasiNewton]:
    """Every length of a history beside every number of iterations, in one step or several, loaded between them or not."""
    taken = itertools.product(AXES["history"], AXES["iterations"], AXES["steps"], AXES["reloaded"], AXES["dtype"])
    for seed, (history, iterations, steps, reloaded, dtype) in enumerate(taken):
        turning = {
            "shape": AXES["shape"][seed % 6],
            "beside": (0, 4)[seed % 3 == 1],
            "curvature": AXES["curvature"][seed % 3],
        }
        case = QuasiNewton(lr=(0.5, 1.0)[seed % 5 == 4], iterations=iterations, history=history, steps=steps, reloaded=reloaded,
                           dtype=dtype, seed=seed).but(**turning)  # fmt: skip
        for changes in ({}, {"tolerance": 0.15}, {"line_search": True}, {"evaluations": ("default", "two")[seed % 2]}):
            yield canonical(case.but(**changes))


family = Family(
    "quasi_newton",
    Space(QuasiNewton, AXES, canonical, scope, flags=("line_search", "reloaded", "history"), strength=2),
    plan,
    cost=4.0,
)
law = family.law


@law(
    "On a quadratic function L-BFGS takes a scaled first step and then the same part of the way to the minimum in each "
    "iteration, whatever its history, until the gradient is within tolerance_grad.",
    source="torch.optim.LBFGS: lr, max_iter, history_size, tolerance_grad; Liu and Nocedal (1989), algorithm 2.1",
    obliges={"forgets", "stops", "reloaded", "history=1", "lr=1.0", "dtype=float64", "beside=4"},
    when=lambda case: not case.line_search and case.evaluations == "enough",
)
def quadratics_are_minimized(case: QuasiNewton, out: Outcome) -> Finding:
    scales, offs = case.scales
    table, beside = case.signs
    return every(
        within(out.tables, scales[:, None, None] * table, offs[:, None, None] * np.abs(table)),
        within(out.offsets, scales[:, None] * beside, offs[:, None] * np.abs(beside)),
    )


@law(
    "A step gives the loss that the closure had at first.",
    source="torch.optim.LBFGS.step: closure reevaluates the model and returns the loss",
    when=lambda case: not case.line_search and case.evaluations == "enough",
)
def first_losses_are_returned(case: QuasiNewton, out: Outcome) -> Finding:
    return within(out.losses, *case.losses)


@law(
    "A closure is evaluated no more often than max_eval allows, by default five times in four iterations.",
    source="torch.optim.LBFGS: max_eval, default max_iter * 1.25",
    obliges={"evaluations=default", "evaluations=two"},
    when=lambda case: not case.line_search,
)
def closures_are_evaluated_within_bounds(case: QuasiNewton, out: Outcome) -> Finding:
    wrong = out.calls.derived(f"[count for count in {{}} if not 1 <= count <= {case.most}]")
    words = f"{list(out.calls.raw)} evaluations, at most {case.most} are allowed"
    return holds_if(not wrong.raw, lambda: Difference("calls", wrong.path, wrong.raw, [], words))


def _wolfe(tables: str, step: int, table: Floats, spread: float) -> str:
    """Whether a step keeps them, as an expression of torch."""
    first = table.flat[0].item()
    before = f"{tables}[{step - 1}].flatten()[0].item() / {first!r} or float('inf')" if step else "1.0"
    ratios = f"({tables}[{step}].double() / torch.tensor({table.tolist()})).flatten().tolist()"
    along = f"all(abs(each - x[0]) <= {spread!r} for each in x)"
    decreased = f"(x[0] / before) ** 2 <= 1 - {2 * DECREASE!r} * (1 - x[0] / before) + {spread!r}"
    return (
        f"(lambda x, before: {along} and {decreased} and abs(x[0] / before) <= {CURVATURE + spread!r})({ratios}, {before})"
    )


@law(
    "With strong_wolfe each iteration goes on along the line through the minimum, as far as the strong Wolfe conditions ask.",
    source="torch.optim.LBFGS: line_search_fn='strong_wolfe'; Nocedal and Wright, Numerical Optimization, 3.7: c1 = 1e-4, c2 = 0.9",
    obliges={"reloaded", "dtype=float64", "curvature=4.0"},
    when=lambda case: case.line_search,
)
def line_searches_keep_the_wolfe_conditions(case: QuasiNewton, out: Outcome) -> Finding:
    table, _ = case.signs
    ratios = out.tables.values.astype(np.float64) / table
    # Each factor is rounded as often as an iteration has operations on an element, of which ten are more than there are.
    spread = 10 * case.steps * FORMATS[case.dtype].unit_roundoff
    before = 1.0
    for step, each in enumerate(ratios):
        now = float(each.flat[0])
        shrunk = 0.0 if before == 0.0 else now / before
        decreased = shrunk**2 <= 1 - 2 * DECREASE * (1 - shrunk) + spread
        along = float(np.abs(each - now).max()) <= spread
        if not (along and decreased and abs(shrunk) <= CURVATURE + spread):
            words = f"step {step + 1} leaves {each.reshape(-1)[:4]} of x, after {before:.6g}"
            return Difference("wolfe", _wolfe(out.tables.path, step, table, spread), False, True, words)
        before = now
    return HOLDS


test_scope, test_product, test_random = family.tests()
