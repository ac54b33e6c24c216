"""Which cases of lr_scheduler there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.lr_scheduler import edge_schedulers
from embcheck.families.lr_scheduler.cases import (
    MADE_LATE,
    METRICS,
    NESTED,
    OTHERS,
    PLATEAUS,
    SECOND_BETAS,
    TOLD,
    LRSchedulerCase,
)
from embcheck.families.lr_scheduler.oracle import TOTALS
from embcheck.families.lr_scheduler.programs import scheduled
from embcheck.families.lr_scheduler.schedulers import PLANS

#: Schedulers at the ends of what their arguments may be.
CORNERS = tuple(name for name, make in PLANS.items() if make.__module__ == edge_schedulers.__name__)


def plan(case: LRSchedulerCase) -> Plan:
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


def repair(case: LRSchedulerCase) -> LRSchedulerCase | None:
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


def scope() -> Iterator[LRSchedulerCase]:
    """Every scheduler, with one group and two, of rates that differ or not, resumed at any epoch or not."""
    for name, (seed, rates), resumed in itertools.product(PLANS, enumerate(AXES["rates"]), AXES["resumed"]):
        if seed < 3 or resumed in (0, 3):
            yield from _fitted(LRSchedulerCase(name, rates, steps=11, resumed=resumed, otherwise=resumed == 3))
    for name, rates, optimizer in itertools.product(PLANS, ((1.0,), (0.25, 2.0)), AXES["optimizer"]):
        yield from _fitted(LRSchedulerCase(name, rates, steps=1, optimizer=optimizer))
        yield from _fitted(LRSchedulerCase(name, rates, steps=5, optimizer=optimizer))
        yield from _fitted(LRSchedulerCase(name, rates, steps=5, joined=2, optimizer=optimizer))
    for name, resumed in itertools.product(MADE_LATE, AXES["resumed"]):
        for rates, tensor in itertools.product(((1.0,), (0.25, 2.0)), AXES["tensor"]):
            yield from _fitted(
                LRSchedulerCase(name, rates, steps=11, resumed=resumed, again="last_epoch", tensor=tensor)
            )
    for name, ahead, numbered in itertools.product(TOLD, AXES["ahead"], AXES["numbered"]):
        yield from _fitted(LRSchedulerCase(name, (1.0, 0.25), steps=9, ahead=ahead, numbered=numbered))
    for name, rates, resumed in itertools.product(TOTALS, AXES["rates"][:3], (0, 3)):
        yield from _fitted(LRSchedulerCase(name, rates, steps=TOTALS[name], resumed=resumed))
    for name, metrics in itertools.product(PLATEAUS, METRICS):
        yield from _fitted(LRSchedulerCase(name, (1.0, 0.25), steps=17, metrics=metrics))


def _fitted(case: LRSchedulerCase) -> Iterator[LRSchedulerCase]:
    found = repair(case)
    if found is not None:
        yield found


SPACE = Space(LRSchedulerCase, AXES, repair, scope, flags=("plan", "tensor"), strength=2)
