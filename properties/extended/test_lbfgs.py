"""Quasi-Newton: what L-BFGS does with a quadratic function of a tied weight, whose minimum it should know at once."""

from __future__ import annotations

import numpy as np

from embcheck.core.comparison import every, holds_if, within
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Family
from embcheck.core.outcome import Outcome
from embcheck.core.result import HOLDS, Difference, Finding
from embcheck.families.lbfgs.cases import LBFGSCase
from embcheck.families.lbfgs.space import SPACE, plan

#: The curvature condition of the strong Wolfe conditions (Nocedal and Wright, Numerical Optimization, 3.7 and 3.1).
CURVATURE = 0.9
DECREASE = 1e-4


family = Family(
    "lbfgs",
    SPACE,
    plan,
    cost=4.0,
)
law = family.law


@law(
    "On a quadratic, LBFGS iterates follow their closed form until the gradient is within tolerance_grad.",
    source="torch.optim.LBFGS: lr, max_iter, history_size, tolerance_grad; Liu and Nocedal (1989), algorithm 2.1",
    must_cover={"forgets", "stops", "reloaded", "history=1", "lr=1.0", "dtype=float64", "beside=4"},
    when=lambda case: not case.line_search and case.evaluations == "enough",
)
def lbfgs_follows_closed_form_on_quadratics(case: LBFGSCase, out: Outcome) -> Finding:
    scales, offs = case.scales
    table, beside = case.signs
    return every(
        within(out.tables, scales[:, None, None] * table, offs[:, None, None] * np.abs(table)),
        within(out.offsets, scales[:, None] * beside, offs[:, None] * np.abs(beside)),
    )


@law(
    "LBFGS.step() returns the loss of its first closure evaluation.",
    source="torch.optim.LBFGS.step: closure reevaluates the model and returns the loss",
    when=lambda case: not case.line_search and case.evaluations == "enough",
)
def lbfgs_step_returns_first_closure_loss(case: LBFGSCase, out: Outcome) -> Finding:
    return within(out.losses, *case.losses)


@law(
    "LBFGS.step() evaluates the closure at least once and at most max_eval times.",
    source="torch.optim.LBFGS: max_eval, default max_iter * 1.25",
    must_cover={"evaluations=default", "evaluations=two"},
    when=lambda case: not case.line_search,
)
def lbfgs_closure_calls_do_not_exceed_max_eval(case: LBFGSCase, out: Outcome) -> Finding:
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
    return f"(lambda x, before: {along} and {decreased} and abs(x[0] / before) <= {CURVATURE + spread!r})({ratios}, {before})"


@law(
    "With line_search_fn='strong_wolfe', each LBFGS iteration satisfies the strong Wolfe conditions.",
    source="torch.optim.LBFGS: line_search_fn='strong_wolfe'; Nocedal and Wright, Numerical Optimization, 3.7: c1 = 1e-4, c2 = 0.9",
    must_cover={"reloaded", "dtype=float64", "curvature=4.0"},
    when=lambda case: case.line_search,
)
def lbfgs_line_search_satisfies_wolfe_conditions(case: LBFGSCase, out: Outcome) -> Finding:
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
