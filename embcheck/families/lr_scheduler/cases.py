"""Learning rates under a scheduler, as a case; knows no torch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes
from embcheck.core.format import Floats
from embcheck.families.lr_scheduler.oracle import (
    CLOSED,
    CYCLES,
    CYCLING_MOMENTUM,
    MOMENTA_OF_GROUPS,
    ONE_CYCLES,
    RESTARTS,
    TOTALS,
    phase,
)

#: Metrics that rise, fall, stay and jump.
METRICS: dict[str, tuple[float, ...]] = {
    "constant": (1.0,),
    "falling": (8.0, 4.0, 2.0, 1.0, 0.5, 0.25),
    "rising": (1.0, 2.0, 4.0, 8.0, 16.0),
    "uneven": (4.0, 3.75, 3.0, 5.0, 5.0, 1.0, 1.0, 6.0, 0.0, 0.0, 0.0, 9.0),
    "negative": (-1.0, -1.5, -1.0, -4.0, -4.0, -4.0, -3.0),
}


class Plateau(NamedTuple):
    """ReduceLROnPlateau: its arguments, with the documented defaults."""

    mode: str = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: str = "rel"
    cooldown: int = 0
    min_lr: tuple[float, ...] = (0.0, 0.0)
    eps: float = 1e-8

    def better(self, metric: float, best: float) -> bool:
        """Whether a metric is better than the best so far by more than the threshold."""
        sign = 1.0 if self.mode == "max" else -1.0
        if self.threshold_mode == "rel":
            return sign * metric > sign * best * (1 + sign * self.threshold)
        return sign * metric > sign * best + self.threshold

    def rates(self, start: tuple[float, ...], metrics: list[float]) -> list[list[float]]:
        """The rates at first and after each metric."""
        best = -math.inf if self.mode == "max" else math.inf
        rates, bad, resting, found = list(start), 0, 0, [list(start)]
        for metric in metrics:
            if self.better(metric, best):
                best, bad = metric, 0
            else:
                bad += 1
            if resting:
                resting, bad = resting - 1, 0
            if bad > self.patience:
                lower = [max(rate * self.factor, least) for rate, least in zip(rates, self.min_lr, strict=False)]
                rates = [new if old - new > self.eps else old for old, new in zip(rates, lower, strict=True)]
                resting, bad = self.cooldown, 0
            found.append(list(rates))
        return found


PLATEAUS = {
    "plateau": Plateau(factor=0.5, patience=0),
    "plateau_patient": Plateau("min", 0.5, 1, 0.5, "abs", 2, (0.125, 0.125)),
    "plateau_highest": Plateau("max", 0.25, 1, 0.25),
    "plateau_highest_absolute": Plateau("max", 0.5, 0, 1.5, "abs", 1, eps=0.2),
    "plateau_of_groups": Plateau(factor=0.5, patience=0, min_lr=(0.5, 0.0)),
}
#: Schedulers of schedulers of schedulers.
NESTED = ("sequential_within", "chained_within", "chained_sequential", "sequential_then_chained")
#: Those whose formula may begin at any epoch: one scheduler, whose functions remember nothing.
FORMULAS = tuple(
    name
    for name in CLOSED
    if not name.startswith(("sequential", "chained")) and not name.endswith(("by_objects", "by_halves"))
)
#: Those that may be made at a last epoch; one of no steps is not said to begin anywhere.
MADE_LATE = tuple(name for name in FORMULAS if not name.endswith("_of_none"))
#: Those that may be told any epoch; the others go from the rate before.
TOLD = tuple(name for name in FORMULAS if not name.startswith(("multiplied", "averaging")))
#: At epoch 0 a first phase of one step is its start as well as its end, as is a warm-up of no steps.
BOTH_AT_FIRST = ("linear_of_none", "one_cycle_of_one_step", "one_cycle_three_of_one_step")
#: What else each group of either optimizer is given, and a schedule must leave.
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "SGD": ({"weight_decay": 0.5}, {"weight_decay": 0.125, "dampening": 0.25}),
    "AdamW": ({"eps": 2.0**-20}, {"weight_decay": 0.125, "eps": 2.0**-10, "amsgrad": True}),
}
#: The second coefficient of AdamW in each group.
SECOND_BETAS = (0.875, 0.75)


class _ScheduleAxes(NamedTuple):
    """The axes, simplest value first."""

    plan: str = "step_two"
    rates: tuple[float, ...] = (1.0,)
    momentum: float = 0.5
    steps: int = 8
    #: the epoch before which optimizer and scheduler are made anew from their states; 0 for never
    resumed: int = 0
    #: the epoch before which a group joins the optimizer; 0 for never
    joined: int = 0
    metrics: str = "constant"
    #: the rates are tensors
    tensor: bool = False
    #: whose momentum is that of SGD, or the first of its betas
    optimizer: str = "SGD"
    #: whether the one that is made anew has other numbers until it loads its state
    otherwise: bool = False
    #: how the scheduler is made anew: it loads its "state", or is given "last_epoch"
    again: str = "state"
    #: whether step() is told some of the epochs
    numbered: bool = False
    #: the epoch to which the first step goes, as it is told; 0 for the next
    ahead: int = 0
    seed: int = 0


class LRSchedulerCase(Axes, _ScheduleAxes):  # type: ignore[misc]
    """The learning rates of one or two groups over some epochs."""

    @property
    def fed(self) -> tuple[float, ...]:
        """The metrics, where the scheduler takes any."""
        return METRICS[self.metrics] if self.plan in PLATEAUS else ()

    @property
    def epochs(self) -> list[int]:
        """The epoch at first and after each step."""
        return [0, *range(self.ahead or 1, (self.ahead or 1) + self.steps)]

    @property
    def told(self) -> tuple[int, ...]:
        """What each step is told, -1 for nothing; empty if none is told anything."""
        told = [e if self.numbered and e % 3 != 1 else -1 for e in self.epochs[1:]]
        if self.ahead:
            told[0] = self.ahead
        return tuple(told) if self.numbered or self.ahead else ()

    @property
    def beyond(self) -> bool:
        """Whether the last step is one beyond the last phase of a cycle, as in the loop that OneCycleLR documents."""
        return self.epochs[-1] == TOTALS.get(self.plan)

    @property
    def rows(self) -> slice:
        """The epochs for which there is one formula."""
        return slice(int(self.plan in BOTH_AT_FIRST), self.steps + (not self.beyond))

    @property
    def due(self) -> Floats:
        """The rates at each epoch, shape (steps + 1, groups)."""
        if self.plan in PLATEAUS:
            metrics = [self.fed[epoch % len(self.fed)] for epoch in range(self.steps)]
            return np.array(PLATEAUS[self.plan].rates(self.rates, metrics))
        closed = CLOSED[self.plan]
        return np.array([[closed(rate, e, g) for g, rate in enumerate(self.rates)] for e in self.epochs])

    @property
    def momenta(self) -> Floats:
        """The momentum at each epoch, shape (steps + 1, groups)."""
        if self.plan in CYCLING_MOMENTUM:
            start, end = CYCLING_MOMENTUM[self.plan]
            values = [CYCLES[self.plan].at(e, start, end) for e in self.epochs]
        elif self.plan in ONE_CYCLES and ONE_CYCLES[self.plan][2] is not None:
            ends, _, between, anneal = ONE_CYCLES[self.plan]
            values = [phase(ends, between or (), anneal, e) for e in self.epochs]
        elif self.plan in MOMENTA_OF_GROUPS:
            of = MOMENTA_OF_GROUPS[self.plan]
            return np.array([[of(e, g) for g in range(len(self.rates))] for e in self.epochs])
        else:
            values = [self.momentum] * (self.steps + 1)
        return np.repeat(np.array(values)[:, None], len(self.rates), axis=1)

    @property
    def rounding(self) -> float:
        """What a handful of operations for each epoch, one epoch upon the other, may lose, as a share of the largest."""
        return 64.0 * (1 + self.epochs[-1]) * 2.0**-53

    @property
    def others(self) -> list[dict[str, Any]]:
        """What each group is given beside its rate and its momentum."""
        return list(OTHERS[self.optimizer][: len(self.rates)])

    def facts(self) -> dict[str, Any]:
        """The axes and: two_groups, is_resumed, group_joins; of one made at a last epoch changes_there (the rate is
        another than in the epoch before), changes_later, and grown (the restarts' second cycle, a longer one, has
        lasted as long as the first); is_told, beyond."""
        due, made = self.due, self.resumed if self.again == "last_epoch" else 0
        first, times = RESTARTS.get(self.plan, (1, 1))
        return {
            **{name: value for name, value in self.axes.items() if name != "rates"},
            "two_groups": len(self.rates) > 1,
            "is_resumed": self.resumed > 0,
            "group_joins": self.joined > 0,
            "changes_there": bool(made and (due[made] != due[made - 1]).any()),
            "changes_later": bool(made and (due[made + 1 :] != due[made]).any()),
            "grown": bool(made and times > 1 and made >= 2 * first),
            "is_told": bool(self.told),
            "beyond": self.beyond,
        }
