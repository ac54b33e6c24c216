"""Schedules: the learning rates of every scheduler are those of its closed form, resumed or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import Finding, every, same, within
from embcheck.law import Family, Plan
from embcheck.outcome import Field, Outcome
from embcheck.space import Space
from embcheck.training.schedule import PLANS, scheduled
from embcheck.training.schedule_case import (
    CYCLING_MOMENTUM,
    METRICS,
    MOMENTA_OF_GROUPS,
    NESTED,
    OTHERS,
    PLATEAUS,
    SECOND_BETAS,
    Schedule,
)


def plan(case: Schedule) -> Plan:
    options = {
        "make": PLANS[case.plan],
        "rates": case.rates,
        "momentum": case.momentum,
        "steps": case.steps,
        "resumed": case.resumed,
        "otherwise": case.otherwise,
        "joined": case.joined,
        "metrics": case.fed,
        "tensor": case.tensor,
        "seconds": SECOND_BETAS if case.optimizer == "AdamW" else (),
        "others": case.others,
    }
    return Plan(scheduled, {}, options)


def canonical(case: Schedule) -> Schedule | None:
    """The case with as many epochs as its scheduler has."""
    steps = min(case.steps, 11) if case.plan.startswith("one_cycle") else case.steps
    changes: dict[str, Any] = {"steps": steps, "resumed": case.resumed if case.resumed < steps else 0}
    # A list of least rates is for as many groups as it has: another one is refused, as documented.  Of schedulers of
    # schedulers nothing is said.
    if changes["resumed"] or case.joined >= steps or case.plan in ("plateau_of_groups", *NESTED):
        changes["joined"] = 0
    if not changes["resumed"]:
        changes["otherwise"] = False
    if case.plan not in PLATEAUS:
        changes["metrics"] = "constant"
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "plan": tuple(PLANS),
    "rates": ((1.0,), (1.0, 0.25), (0.25, 2.0), (0.5, 0.5), (0.0, 0.25)),
    "momentum": (0.5, 0.75),
    "steps": (8, 1, 2, 5, 17),
    "resumed": (0, 1, 3, 4),
    "joined": (0, 1, 3),
    "metrics": tuple(METRICS),
    "tensor": (False, True),
    "optimizer": tuple(OTHERS),
    "otherwise": (False, True),
}


def scope() -> Iterator[Schedule]:
    """Every scheduler, with one group and two, of rates that differ or not, resumed at any epoch or not."""
    for name, (seed, rates), resumed in itertools.product(PLANS, enumerate(AXES["rates"]), AXES["resumed"]):
        if seed < 3 or resumed in (0, 3):
            yield from _fitted(Schedule(name, rates, steps=11, resumed=resumed, otherwise=resumed == 3))
    for name, rates, optimizer in itertools.product(PLANS, ((1.0,), (0.25, 2.0)), AXES["optimizer"]):
        yield from _fitted(Schedule(name, rates, steps=5, optimizer=optimizer))
        yield from _fitted(Schedule(name, rates, steps=5, joined=2, optimizer=optimizer))
    for name, metrics in itertools.product(PLATEAUS, METRICS):
        yield from _fitted(Schedule(name, (1.0, 0.25), steps=17, metrics=metrics))


def _fitted(case: Schedule) -> Iterator[Schedule]:
    found = canonical(case)
    if found is not None:
        yield found


schedule = Family(
    "schedule",
    Space(Schedule, AXES, canonical, scope, flags=("plan", "tensor"), strength=2),
    plan,
    cost=6.0,
)
law = schedule.law


def near(got: Field, wanted: Any) -> Finding:
    """Up to the rounding of a handful of operations for each epoch, in double, one epoch upon the other."""
    scale = np.maximum(np.abs(wanted), 1.0).max()
    return within(got, wanted, 64 * len(wanted) * 2.0**-53 * scale)


@law(
    "The learning rate of each epoch is that of the scheduler's closed form, for each group from its own.",
    source="torch.optim.lr_scheduler; torch.optim.swa_utils.SWALR",
    obliges={f"plan={name}" for name in PLANS}
    | {"two_groups", "is_resumed", "otherwise", "group_joins", "tensor", "metrics=uneven"},
)
def rates_follow_the_closed_form(case: Schedule, out: Outcome) -> Finding:
    return near(out.rates, case.due)


@law(
    "The momentum is cycled against the rate where the scheduler says so, and left alone otherwise.",
    source="CyclicLR and OneCycleLR: cycle_momentum, base_momentum, max_momentum",
    obliges={f"plan={name}" for name in ("one_cycle", "one_cycle_three", *CYCLING_MOMENTUM, *MOMENTA_OF_GROUPS)},
)
def momentum_is_cycled(case: Schedule, out: Outcome) -> Finding:
    return near(out.momenta, case.momenta)


@law(
    "What a schedule does not name (weight decay, dampening, eps, the second beta) stays what each group was given.",
    source="torch.optim.lr_scheduler: schedulers adjust the learning rate, cyclic ones the momentum",
    obliges={"optimizer=AdamW", "optimizer=SGD", "two_groups"},
)
def schedules_leave_the_rest(case: Schedule, out: Outcome) -> Finding:
    seconds = SECOND_BETAS if case.optimizer == "AdamW" else None
    betas = [(seconds[g],) if seconds else () for g in range(len(case.rates))]
    return same(out.others, [[*map(list, map(dict.values, case.others)), betas]] * (case.steps + 1))


@law(
    "get_last_lr() tells the rates that are set; last_epoch counts; a rate that is a tensor stays one.",
    source="LRScheduler.get_last_lr, last_epoch",
)
def schedulers_tell_what_they_set(case: Schedule, out: Outcome) -> Finding:
    counts = list(range(case.steps + 1)) if not case.plan.startswith("chained") else out.epochs.raw
    if case.plan == "restarts_by_halves":
        counts = [count // 2 for count in counts]
    return every(
        same(out.told, out.rates.values),
        same(out.epochs, counts),
        same(out.tensors, [case.tensor] * len(case.rates)),
    )


test_scope, test_product, test_random = schedule.tests()
