"""Schedulers of torch.optim as a table: what each is made with, and its rate and momentum at an epoch.  Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

#: The rate at an epoch: (base rate, epoch, group) -> rate.
Rate = Callable[[float, int, int], float]
#: The momentum at an epoch: (epoch, group) -> momentum.
Momentum = Callable[[int, int], float]


class Scheduler(NamedTuple):
    """A class of torch.optim.lr_scheduler or swa_utils, its arguments after the optimizer, and what is due.

    A tuple among the arguments has a value for each group.  ``function`` names what makes an argument that can be called;
    ``total`` is how often the loop that OneCycleLR documents steps it.
    """

    kind: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    rate: Rate
    momentum: Momentum | None = None
    function: str = ""
    total: int = 0


def made(
    kind: str, rate: Rate, *arguments: Any, momentum: Any = None, by: str = "", total: int = 0, **named: Any
) -> Scheduler:
    return Scheduler(kind, arguments, named, rate, momentum, by, total)


def part(kind: str, *arguments: Any, **named: Any) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
    """A scheduler within another."""
    return kind, arguments, named


# -- closed forms --------------------------------------------------------------------------------------------------


def cosine(start: float, end: float, share: float) -> float:
    return end + (start - end) / 2 * (1 + math.cos(math.pi * share))


def _linear(start: float, end: float, share: float) -> float:
    return start + (end - start) * share


def _restarted(base: float, epoch: float, first: int, times: int, least: float = 0.0) -> float:
    length = first
    while epoch >= length:
        epoch -= length
        length *= times
    return cosine(base, least, epoch / length)


def _phase(ends: tuple[float, ...], values: tuple[float, ...], anneal: Any, epoch: int) -> float:
    """The value at an epoch between the ends of phases; after the last one it stays."""
    for k in range(1, len(ends)):
        if epoch < ends[k]:
            return float(anneal(values[k - 1], values[k], (epoch - ends[k - 1]) / (ends[k] - ends[k - 1])))
    return values[-1]


class Cycle(NamedTuple):
    """CyclicLR: its bounds, its steps up and down, and by what its height shrinks (cycle from 1, epoch)."""

    low: float
    high: float
    up: int
    down: int
    shrink: Callable[[int, int], float] = lambda cycle, epoch: 1.0

    def at(self, epoch: int, low: float, high: float) -> float:
        """The value between ``low`` and ``high``."""
        total = self.up + self.down
        cycle, place = epoch // total + 1, epoch % total
        height = place / self.up if place <= self.up else (total - place) / self.down
        return low + (high - low) * height * self.shrink(cycle, epoch)


def _cyclic(cycle: Cycle, *arguments: Any, momenta: tuple[float, float] | None = None, **named: Any) -> Scheduler:
    """A CyclicLR; ``momenta`` are those of the first epoch and of the height of a cycle, if it cycles any."""
    if momenta is None:
        named["cycle_momentum"] = False
        return made("CyclicLR", lambda base, e, g: cycle.at(e, cycle.low, cycle.high), *arguments, **named)
    named["momentum"] = lambda e, g: cycle.at(e, *momenta)
    return made("CyclicLR", lambda base, e, g: cycle.at(e, cycle.low, cycle.high), *arguments, **named)


def _one_cycle(
    ends: tuple[float, ...], rates: tuple[float, ...], momenta: tuple[float, ...] | None, *arguments: Any, **named: Any
) -> Scheduler:
    """A OneCycleLR by the ends of its phases, the rates between them, and the momenta, if it cycles any."""
    anneal = _linear if named.get("anneal_strategy") == "linear" else cosine
    named |= (
        {"cycle_momentum": False} if momenta is None else {"momentum": lambda e, g: _phase(ends, momenta, anneal, e)}
    )
    named["total"] = int(ends[-1]) + 1
    return made("OneCycleLR", lambda base, e, g: _phase(ends, rates, anneal, e), *arguments, **named)


_TWO_AND_TWO = Cycle(0.5, 1.5, 2, 2)
_QUARTER = (0, 2, 11)


def _of_groups(*groups: tuple[float, ...]) -> Momentum:
    """What OneCycleLR gives each group, which starts to fall after a quarter of eleven steps."""
    return lambda e, g: _phase(_QUARTER, groups[g], cosine, e)


_FALLING_RATES = _of_groups((0.25, 1.0, 0.25 / 16), (0.125, 0.5, 0.125 / 16), (0.5, 2.0, 0.5 / 16))


def _in_sequence(base: float, e: int, g: int) -> float:
    return base * (0.5 if e < 2 else 0.5 ** (e - 2) if e < 5 else 0.25 ** (e - 5))


def _in_a_chain(base: float, e: int, g: int) -> float:
    return base * (0.5 if e < 2 else 1.0) * 0.75**e


# -- the table -----------------------------------------------------------------------------------------------------

_SEQUENCE = (part("ConstantLR", 0.5, 99), part("ExponentialLR", 0.5), part("StepLR", 1, 0.25), [2, 5])
_CHAIN = (part("ConstantLR", 0.5, 2), part("ExponentialLR", 0.75))

SCHEDULERS: dict[str, Scheduler] = {
    "step_two": made("StepLR", lambda base, e, g: base * 0.5 ** (e // 2), step_size=2, gamma=0.5),
    "multi_step": made("MultiStepLR", lambda base, e, g: base * 0.25 ** ((e >= 1) + (e >= 4)), milestones=[1, 4], gamma=0.25),
    "exponential": made("ExponentialLR", lambda base, e, g: base * 0.75**e, 0.75),
    "constant": made("ConstantLR", lambda base, e, g: base * (0.25 if e < 3 else 1.0), factor=0.25, total_iters=3),
    "linear": made("LinearLR", lambda base, e, g: base * (0.25 + 0.75 * min(e, 3) / 3),
                    start_factor=0.25, end_factor=1.0, total_iters=3),
    "polynomial": made("PolynomialLR", lambda base, e, g: base * (1 - min(e, 5) / 5) ** 2, total_iters=5, power=2.0),
    "cosine": made("CosineAnnealingLR", lambda base, e, g: cosine(base, 0.125, e / 4), T_max=4, eta_min=0.125),
    "restarts": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 3, 1, 0.125), T_0=3, eta_min=0.125),
    "restarts_longer": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 2, 2), 2, T_mult=2),
    "by_function": made("LambdaLR", lambda base, e, g: base / (1 + e), by="inverse"),
    "by_functions": made("LambdaLR", lambda base, e, g: base * (0.5**e if g == 0 else 1.0 + e), by="power_and_line"),
    "multiplied": made("MultiplicativeLR", lambda base, e, g: base * (0.5**e if g == 0 else math.factorial(e + 1)),
                        by="half_and_line"),
    "sequential": made("SequentialLR", _in_sequence, *_SEQUENCE),
    "chained": made("ChainedScheduler", _in_a_chain, *_CHAIN),
    "averaging": made("SWALR", lambda base, e, g: _linear(base, 0.125, min(e / 4, 1.0)),
                       swa_lr=0.125, anneal_epochs=4, anneal_strategy="linear"),
    "cyclic": _cyclic(_TWO_AND_TWO, base_lr=0.5, max_lr=1.5, step_size_up=2),
    "cyclic_halved": _cyclic(Cycle(0.5, 1.5, 1, 3, lambda cycle, epoch: 0.5 ** (cycle - 1)), 0.5, 1.5, 1, 3, "triangular2",
                             base_momentum=0.25, max_momentum=0.75, momenta=(0.75, 0.25)),
    "one_cycle": _one_cycle(_QUARTER, (0.25, 1.0, 0.25 / 16), (0.75, 0.5, 0.75), max_lr=1.0, total_steps=12, pct_start=0.25,
                            base_momentum=0.5, max_momentum=0.75, div_factor=4.0, final_div_factor=16.0),
    "one_cycle_linear": _one_cycle((0, 5, 11), (0.08, 2.0, 0.08e-4), None, 2.0, epochs=3, steps_per_epoch=4, pct_start=0.5,
                                   anneal_strategy="linear"),
    "one_cycle_three": _one_cycle((0, 4.2, 8.4, 12), (0.5, 1.0, 0.5, 0.5 / 8), (0.95, 0.85, 0.95, 0.95), 1.0, 13,
                                  pct_start=0.4, anneal_strategy="linear", three_phase=True, div_factor=2.0,
                                  final_div_factor=8.0),
    "one_cycle_level": _one_cycle((0, 2.25, 4.5, 12), (0.5, 1.0, 0.5, 0.5), (0.75, 0.5, 0.75, 0.75), 1.0, 13, pct_start=0.25,
                                  anneal_strategy="linear", three_phase=True, base_momentum=0.5, max_momentum=0.75,
                                  div_factor=2.0, final_div_factor=1.0),
    "cyclic_of_groups": made("CyclicLR", lambda base, e, g: _TWO_AND_TWO.at(e, *((0.5, 1.5), (0.25, 2.0), (0.125, 1.0))[g]),
                              (0.5, 0.25, 0.125), (1.5, 2.0, 1.0), 2, 2, base_momentum=(0.25, 0.5, 0.125),
                              max_momentum=(0.75, 0.875, 0.5),
                              momentum=lambda e, g: _TWO_AND_TWO.at(e, *((0.75, 0.25), (0.875, 0.5), (0.5, 0.125))[g])),
    "one_cycle_of_groups": made("OneCycleLR", lambda base, e, g: _FALLING_RATES(e, g), (1.0, 0.5, 2.0), total=12,
                                 total_steps=12, pct_start=0.25, base_momentum=(0.5, 0.25, 0.125),
                                 max_momentum=(0.75, 0.875, 0.5), div_factor=4.0, final_div_factor=16.0,
                                 momentum=_of_groups((0.75, 0.5, 0.75), (0.875, 0.25, 0.875), (0.5, 0.125, 0.5))),
    # The shortest that it can be.
    "step_each": made("StepLR", lambda base, e, g: base * 0.5**e, 1, 0.5),
    # Over no steps.
    "constant_of_none": made("ConstantLR", lambda base, e, g: base, 0.5, total_iters=0),
    "linear_of_none": made("LinearLR", lambda base, e, g: base * 0.5, 0.25, 0.5, total_iters=0),
    "restarts_thrice": made("CosineAnnealingWarmRestarts", lambda base, e, g: _restarted(base, e, 1, 3), 1, T_mult=3),
    # One within another.
    "sequential_within": made("SequentialLR", _in_sequence, part("SequentialLR", *_SEQUENCE), []),
    "chained_within": made("SequentialLR", _in_a_chain, part("ChainedScheduler", *_CHAIN), []),
}  # fmt: skip
