"""Schedules: the learning rates of every scheduler are those of its closed form, resumed or not."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck.comparison import every, same, within
from embcheck.law import Family, Plan
from embcheck.outcome import Field, Outcome
from embcheck.result import Finding
from embcheck.space import Space
from embcheck.training import schedule_corners
from embcheck.training.closed_forms import CYCLING_MOMENTUM, MOMENTA_OF_GROUPS, TOTALS
from embcheck.training.schedule import scheduled
from embcheck.training.schedule_case import (
    MADE_LATE,
    METRICS,
    NESTED,
    OTHERS,
    PLATEAUS,
    SECOND_BETAS,
    TOLD,
    Schedule,
)
from embcheck.training.schedulers import PLANS

#: Schedulers at the ends of what their arguments may be.
CORNERS = tuple(name for name, make in PLANS.items() if make.__module__ == schedule_corners.__name__)
#: What torch can't make, and what it can make but has no state: no such case of theirs is judged.
UNBORN = ("one_cycle_of_one_step", "one_cycle_three_of_one_step")
#: What torch can hardly step to where it could be resumed.
STUCK = (*UNBORN, "constant_frozen")
STATELESS = (*UNBORN, "by_table", "multiplied_by_table", "cyclic_table", "sequential_then_chained")


def plan(case: Schedule) -> Plan:
    options = {
        "make": PLANS[case.plan],
        "rates": case.rates,
        "momentum": case.momentum,
        "steps": case.steps,
        "resumed": case.resumed,
        "last_epoch": case.resumed - 1 if case.again == "last_epoch" else -1,
        "otherwise": case.otherwise,
        "joined": case.joined,
        "metrics": case.fed,
        "told": case.told,
        "tensor": case.tensor,
        "seconds": SECOND_BETAS if case.optimizer == "AdamW" else (),
        "others": case.others,
    }
    return Plan(scheduled, {}, options)


def canonical(case: Schedule) -> Schedule | None:
    """The case with as many epochs as its scheduler has."""
    told = case.plan in TOLD
    ahead = 0 if not told or (case.plan in TOTALS and case.ahead > 5) else case.ahead
    steps = min(case.steps, TOTALS[case.plan] - max(ahead - 1, 0)) if case.plan in TOTALS else case.steps
    resumed = case.resumed if case.resumed < steps else 0
    changes: dict[str, Any] = {"steps": steps, "resumed": resumed, "ahead": ahead}
    # A list of least rates is for as many groups as it has: another one is refused, as documented.  Of schedulers of
    # schedulers nothing is said.
    if resumed or case.joined >= steps or case.plan in ("plateau_of_groups", *NESTED, *CORNERS):
        changes["joined"] = 0
    if not resumed or case.plan not in MADE_LATE or ahead:
        changes["again"] = "state"
    if not resumed or changes.get("again", case.again) != "state":
        changes["otherwise"] = False
    if not told or changes.get("joined", case.joined):
        changes |= {"numbered": False, "ahead": 0}
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
    "again": ("state", "last_epoch"),
    "numbered": (False, True),
    "ahead": (0, 3, 13, 40, 121),
}


def scope() -> Iterator[Schedule]:
    """Every scheduler, with one group and two, of rates that differ or not, resumed at any epoch or not."""
    for name, (seed, rates), resumed in itertools.product(PLANS, enumerate(AXES["rates"]), AXES["resumed"]):
        if seed < 3 or resumed in (0, 3):
            yield from _fitted(Schedule(name, rates, steps=11, resumed=resumed, otherwise=resumed == 3))
    for name, rates, optimizer in itertools.product(PLANS, ((1.0,), (0.25, 2.0)), AXES["optimizer"]):
        yield from _fitted(Schedule(name, rates, steps=1, optimizer=optimizer))
        yield from _fitted(Schedule(name, rates, steps=5, optimizer=optimizer))
        yield from _fitted(Schedule(name, rates, steps=5, joined=2, optimizer=optimizer))
    for name, resumed in itertools.product(MADE_LATE, AXES["resumed"]):
        for rates, tensor in itertools.product(((1.0,), (0.25, 2.0)), AXES["tensor"]):
            yield from _fitted(Schedule(name, rates, steps=11, resumed=resumed, again="last_epoch", tensor=tensor))
    for name, ahead, numbered in itertools.product(TOLD, AXES["ahead"], AXES["numbered"]):
        yield from _fitted(Schedule(name, (1.0, 0.25), steps=9, ahead=ahead, numbered=numbered))
    for name, rates, resumed in itertools.product(TOTALS, AXES["rates"][:3], (0, 3)):
        yield from _fitted(Schedule(name, rates, steps=TOTALS[name], resumed=resumed))
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


def near(case: Schedule, got: Field, wanted: Any) -> Finding:
    """Up to the rounding of a handful of operations for each epoch, in double, one epoch upon the other."""
    return within(got, wanted, case.rounding * np.maximum(np.abs(wanted), 1.0).max(initial=1.0))


@law(
    "The learning rate of each epoch is that of the scheduler's closed form, for each group from its own.",
    source="torch.optim.lr_scheduler; torch.optim.swa_utils.SWALR",
    obliges={f"plan={name}" for name in PLANS if name not in UNBORN}
    | {"two_groups", "is_resumed", "otherwise", "group_joins", "tensor", "metrics=uneven", "numbered"}
    | {f"ahead={epoch}" for epoch in AXES["ahead"]},
    when=lambda case: case.again == "state",
)
def rates_follow_the_closed_form(case: Schedule, out: Outcome) -> Finding:
    return near(case, out.rates[case.rows], case.due[case.rows])


@law(
    "A scheduler that is made with last_epoch, on an optimizer that loaded its state, goes on: the rate stays as it was "
    "loaded, and those that follow are the closed form's.",
    source="torch.optim.lr_scheduler: last_epoch, the index of the last epoch, when restoring from a checkpoint",
    obliges={f"plan={name}" for name in MADE_LATE if name not in STUCK} | {"two_groups", "tensor", "changes_there"},
    when=lambda case: case.again == "last_epoch",
)
def made_at_a_last_epoch_it_goes_on(case: Schedule, out: Outcome) -> Finding:
    return every(
        near(case, out.returned, case.due[[case.resumed]]),
        near(case, out.rates[case.rows], case.due[case.rows]),
    )


@law(
    "The last step of the loop that OneCycleLR documents, one beyond its last phase, leaves rate and momentum at the end "
    "of that phase.",
    source="OneCycleLR: total_steps, the example, final_div_factor determines the minimum learning rate",
    obliges={"plan=one_cycle_level", "two_groups", "is_resumed"},
    when=lambda case: case.beyond and case.plan != "one_cycle_climbing",
)
def one_cycle_stays_at_its_end(case: Schedule, out: Outcome) -> Finding:
    return every(near(case, out.rates[-1:], case.due[-1:]), near(case, out.momenta[-1:], case.momenta[-1:]))


@law(
    "A state that is loaded stays as it is, when it is loaded and as the scheduler goes on: it can be loaded again.",
    source="LRScheduler.load_state_dict; pytorch#32756",
    obliges={f"plan={name}" for name in PLANS if name not in STATELESS} | {"two_groups", "tensor", "otherwise"},
    when=lambda case: case.resumed and case.again == "state",
)
def loaded_states_stay(case: Schedule, out: Outcome) -> Finding:
    return same(out.stays, [True, True])


@law(
    "The momentum is cycled against the rate where the scheduler says so, and left alone otherwise.",
    source="CyclicLR and OneCycleLR: cycle_momentum, base_momentum, max_momentum",
    obliges={f"plan={name}" for name in ("one_cycle", "one_cycle_three", *CYCLING_MOMENTUM, *MOMENTA_OF_GROUPS)},
)
def momentum_is_cycled(case: Schedule, out: Outcome) -> Finding:
    return near(case, out.momenta[case.rows], case.momenta[case.rows])


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
    counts = case.epochs if not case.plan.startswith("chained") else out.epochs.raw
    if case.plan == "restarts_by_halves":
        counts = [count // 2 for count in counts]
    return every(
        same(out.told, out.rates.require()),
        same(out.epochs, counts),
        same(out.tensors, [case.tensor] * len(case.rates)),
    )


test_scope, test_product, test_random = schedule.tests()
