"""Learning rates under a scheduler, as a case, and the closed form of each; knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from embcheck.axes import Axes
from embcheck.format import Floats

#: Metrics that rise, fall, stay and jump.
METRICS: dict[str, tuple[float, ...]] = {
    "constant": (1.0,),
    "falling": (8.0, 4.0, 2.0, 1.0, 0.5, 0.25),
    "rising": (1.0, 2.0, 4.0, 8.0, 16.0),
    "uneven": (4.0, 3.75, 3.0, 5.0, 5.0, 1.0, 1.0, 6.0, 0.0, 0.0, 0.0, 9.0),
    "negative": (-1.0, -1.5, -1.0, -4.0, -4.0, -4.0, -3.0),
}


def _cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _restarted(base: float, epoch: float, first: int, times: int, least: float) -> float:
    length = first
    while epoch >= length:
        epoch -= length
        length *= times
    return _cosine(base, least, epoch / length)


class Cycle(NamedTuple):
    """CyclicLR: its bounds, its steps up and down, and by what its height shrinks (cycle from 1, epoch)."""

    low: float
    high: float
    up: int
    down: int
    shrink: Callable[[int, int], float]

    def at(self, epoch: int, low: float, high: float) -> float:
        """The value between ``low`` and ``high``."""
        total = self.up + self.down
        cycle, place = epoch // total + 1, epoch % total
        height = place / self.up if place <= self.up else (total - place) / self.down
        return low + (high - low) * height * self.shrink(cycle, epoch)


CYCLES = {
    "cyclic": Cycle(0.5, 1.5, 2, 2, lambda cycle, epoch: 1.0),
    "cyclic_halved": Cycle(0.5, 1.5, 1, 3, lambda cycle, epoch: 0.5 ** (cycle - 1)),
    "cyclic_range": Cycle(0.0, 1.0, 3, 1, lambda cycle, epoch: 0.75**epoch),
    "cyclic_function": Cycle(0.25, 1.25, 2, 2, lambda cycle, epoch: 1 / cycle),
    "cyclic_each": Cycle(0.5, 1.5, 1, 1, lambda cycle, epoch: 1.0),
    "cyclic_range_momentum": Cycle(0.5, 1.5, 1, 2, lambda cycle, epoch: 0.75**epoch),
    "cyclic_function_momentum": Cycle(0.25, 1.25, 2, 1, lambda cycle, epoch: 1 / (1 + epoch)),
}
#: OneCycleLR: the ends of its phases, the rates between them, the momenta between them (None: left), and how it anneals.
ONE_CYCLES: dict[str, tuple[tuple[float, ...], tuple[float, ...], tuple[float, ...] | None, Any]] = {
    "one_cycle": ((0, 2, 11), (0.25, 1.0, 0.25 / 16), (0.75, 0.5, 0.75), _cosine),
    "one_cycle_linear": ((0, 5, 11), (0.08, 2.0, 0.08e-4), None, _linear),
    "one_cycle_three": ((0, 4.2, 8.4, 12), (0.5, 1.0, 0.5, 0.5 / 8), (0.95, 0.85, 0.95, 0.95), _linear),
}


def phase(ends: tuple[float, ...], values: tuple[float, ...], anneal: Any, epoch: int) -> float:
    """The value at an epoch between the ends of phases."""
    for k in range(1, len(ends)):
        if epoch <= ends[k] or k == len(ends) - 1:
            return float(anneal(values[k - 1], values[k], (epoch - ends[k - 1]) / (ends[k] - ends[k - 1])))
    raise AssertionError("unreachable")


def _of_groups(epoch: int, values: tuple[float, ...]) -> float:
    return phase(ONE_CYCLES["one_cycle"][0], values, _cosine, epoch)


#: The rate at an epoch: (base rate, epoch, group) -> rate.
CLOSED: dict[str, Callable[[float, int, int], float]] = {
    "step_two": lambda base, e, g: base * 0.5 ** (e // 2),
    "step_default": lambda base, e, g: base * 0.1 ** (e // 3),
    "multi_step": lambda base, e, g: base * 0.25 ** ((e >= 1) + (e >= 4)),
    "multi_step_repeated": lambda base, e, g: base * 0.5 ** (2 * (e >= 2) + (e >= 5)),
    "exponential": lambda base, e, g: base * 0.75**e,
    "constant": lambda base, e, g: base * (0.25 if e < 3 else 1.0),
    "linear": lambda base, e, g: base * (0.25 + 0.75 * min(e, 3) / 3),
    "linear_down": lambda base, e, g: base * (1 - min(e, 4) / 4),
    "polynomial": lambda base, e, g: base * (1 - min(e, 5) / 5) ** 2,
    "polynomial_root": lambda base, e, g: base * math.sqrt(1 - min(e, 6) / 6),
    "cosine": lambda base, e, g: _cosine(base, 0.125, e / 4),
    "restarts": lambda base, e, g: _restarted(base, e, 3, 1, 0.125),
    "restarts_by_halves": lambda base, e, g: _restarted(base, e / 2, 3, 1, 0.125),
    "restarts_longer": lambda base, e, g: _restarted(base, e, 2, 2, 0.0),
    "by_function": lambda base, e, g: base / (1 + e),
    "by_functions": lambda base, e, g: base * (0.5**e if g == 0 else 1.0 + e),
    "multiplied": lambda base, e, g: base * (0.5**e if g == 0 else math.prod(1.0 + k for k in range(1, e + 1))),
    "sequential": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "chained": lambda base, e, g: base * (0.5 if e < 2 else 1.0) * 0.75**e,
    "averaging": lambda base, e, g: _linear(base, 0.125, min(e / 4, 1.0)),
    "averaging_cosine": lambda base, e, g: _cosine(base, 2.0, min(e / 3, 1.0)),
    **{name: lambda base, e, g, c=cycle: c.at(e, c.low, c.high) for name, cycle in CYCLES.items()},  # type: ignore[misc]
    **{name: lambda base, e, g, o=one: phase(o[0], o[1], o[3], e) for name, one in ONE_CYCLES.items()},  # type: ignore[misc]
    "cyclic_of_groups": lambda base, e, g: CYCLES["cyclic"].at(e, *((0.5, 1.5), (0.25, 2.0))[g]),
    "one_cycle_of_groups": lambda base, e, g: _of_groups(e, ((0.25, 1.0, 0.25 / 16), (0.125, 0.5, 0.125 / 16))[g]),
    # The shortest that each can be.
    "step_each": lambda base, e, g: base * 0.5**e,
    "constant_once": lambda base, e, g: base * (0.5 if e < 1 else 1.0),
    "linear_once": lambda base, e, g: base * (0.5 if e < 1 else 1.0),
    "polynomial_once": lambda base, e, g: base * (e < 1),
    "cosine_each": lambda base, e, g: _cosine(base, 0.125, e % 2),
    "restarts_each": lambda base, e, g: base,
    "averaging_once": lambda base, e, g: base if e < 1 else 0.125,
    "averaging_at_once": lambda base, e, g: 0.125,
    "averaging_at_once_linear": lambda base, e, g: 0.125,
    "sequential_each": lambda base, e, g: base * (0.5 if e < 1 else 0.5 ** (e - 1)),
    "chained_alone": lambda base, e, g: base * 0.75**e,
    # One within another.
    "sequential_alone": lambda base, e, g: base * 0.75**e,
    "sequential_within": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "chained_within": lambda base, e, g: base * (0.5 if e < 2 else 1.0) * 0.75**e,
    "chained_sequential": lambda base, e, g: base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5)),
    "sequential_then_chained": lambda base, e, g: base * (0.5 if e < 2 else 0.75 ** (e - 2)),
    # By an object that remembers, and a function for the second group.
    "by_objects": lambda base, e, g: base / max(e, 1) if g == 0 else base * (1.0 + e),
    "multiplied_by_objects": lambda base, e, g: base / math.factorial(e) if g == 0 else base * math.factorial(e + 1),
}  # fmt: skip


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
#: Schedulers that set the momentum, too: the first value is that of the first epoch.
CYCLING_MOMENTUM = {
    "cyclic_halved": (0.75, 0.25),
    "cyclic_range_momentum": (0.875, 0.25),
    "cyclic_function_momentum": (0.75, 0.25),
}
#: Those that set a momentum for each group: its value at an epoch, by group.
MOMENTA_OF_GROUPS: dict[str, Callable[[int, int], float]] = {
    "cyclic_of_groups": lambda e, g: CYCLES["cyclic"].at(e, *((0.75, 0.25), (0.875, 0.5))[g]),
    "one_cycle_of_groups": lambda e, g: _of_groups(e, ((0.75, 0.5, 0.75), (0.875, 0.25, 0.875))[g]),
}
#: Schedulers of schedulers of schedulers.
NESTED = ("sequential_within", "chained_within", "chained_sequential", "sequential_then_chained")
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
    seed: int = 0


class Schedule(Axes, _ScheduleAxes):  # type: ignore[misc]
    """The learning rates of one or two groups over some epochs."""

    @property
    def fed(self) -> tuple[float, ...]:
        """The metrics, where the scheduler takes any."""
        return METRICS[self.metrics] if self.plan in PLATEAUS else ()

    @property
    def due(self) -> Floats:
        """The rates at each epoch, shape (steps + 1, groups)."""
        if self.plan in PLATEAUS:
            metrics = [self.fed[epoch % len(self.fed)] for epoch in range(self.steps)]
            return np.array(PLATEAUS[self.plan].rates(self.rates, metrics))
        closed = CLOSED[self.plan]
        return np.array([[closed(rate, e, g) for g, rate in enumerate(self.rates)] for e in range(self.steps + 1)])

    @property
    def momenta(self) -> Floats:
        """The momentum at each epoch, shape (steps + 1, groups)."""
        if self.plan in CYCLING_MOMENTUM:
            start, end = CYCLING_MOMENTUM[self.plan]
            values = [CYCLES[self.plan].at(e, start, end) for e in range(self.steps + 1)]
        elif self.plan in ONE_CYCLES and ONE_CYCLES[self.plan][2] is not None:
            ends, _, between, anneal = ONE_CYCLES[self.plan]
            values = [phase(ends, between or (), anneal, e) for e in range(self.steps + 1)]
        elif self.plan in MOMENTA_OF_GROUPS:
            of = MOMENTA_OF_GROUPS[self.plan]
            return np.array([[of(e, g) for g in range(len(self.rates))] for e in range(self.steps + 1)])
        else:
            values = [self.momentum] * (self.steps + 1)
        return np.repeat(np.array(values)[:, None], len(self.rates), axis=1)

    @property
    def others(self) -> list[dict[str, Any]]:
        """What each group is given beside its rate and its momentum."""
        return list(OTHERS[self.optimizer][: len(self.rates)])

    def facts(self) -> dict[str, Any]:
        """The axes and: two_groups, is_resumed, group_joins."""
        return {
            **{name: value for name, value in self.axes.items() if name != "rates"},
            "two_groups": len(self.rates) > 1,
            "is_resumed": self.resumed > 0,
            "group_joins": self.joined > 0,
        }
