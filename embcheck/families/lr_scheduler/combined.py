"""Program: schedulers as trainings put them together, which are loaded and copied on the way.

It imports nothing but torch, for its source is what a counterexample's script shows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.lr_scheduler.programs import rates_of, scheduled


class Power:
    """A function that can be saved: the powers of a number."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, number: float) -> float:
        return float(self.base**number)


#: Makes schedulers of an optimizer, by the plan beside which they are; those that load a state are not ``first``.
COMBINED: dict[str, Callable[[Any, bool], list[Any]]] = {}


@into(COMBINED)
def linear_(optimizer: Any, first: bool) -> list[Any]:
    """A decay."""
    return [torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.25, total_iters=4)]


@into(COMBINED)
def sequential_(optimizer: Any, first: bool) -> list[Any]:
    """A warm-up that ends early, and a cosine."""
    schedulers = torch.optim.lr_scheduler
    parts = [schedulers.LinearLR(optimizer, 0.25, total_iters=4), schedulers.CosineAnnealingLR(optimizer, 16)]
    return [schedulers.SequentialLR(optimizer, parts, [2])]


@into(COMBINED)
def chained_(optimizer: Any, first: bool) -> list[Any]:
    """A warm-up and a cosine at once."""
    schedulers = torch.optim.lr_scheduler
    parts = [schedulers.LinearLR(optimizer, 0.25, total_iters=4), schedulers.CosineAnnealingLR(optimizer, 16)]
    return [schedulers.ChainedScheduler(parts)]


@into(COMBINED)
def averaging_(optimizer: Any, first: bool) -> list[Any]:
    """A decay, and then the rate of what is averaged."""
    decay = torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5)
    return [decay, torch.optim.swa_utils.SWALR(optimizer, 0.5, 8, "linear" if first else "cos")]


@into(COMBINED)
def plateau_(optimizer: Any, first: bool) -> list[Any]:
    """One least rate of all groups."""
    return [torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.25)]


@into(COMBINED)
def cyclic_(optimizer: Any, first: bool) -> list[Any]:
    """Cycles whose height is a function of their number."""
    height = Power(0.5 if first else 0.25)
    return [torch.optim.lr_scheduler.CyclicLR(optimizer, 0.5, 1.5, 1, 3, scale_fn=height, cycle_momentum=False)]


@into(COMBINED)
def restarts_longer_(optimizer: Any, first: bool) -> list[Any]:
    """A function that is saved, and then restarts, each after twice as many epochs."""
    schedulers = torch.optim.lr_scheduler
    by_function = schedulers.LambdaLR(optimizer, Power(0.5 if first else 0.25))
    restarts = schedulers.CosineAnnealingWarmRestarts(optimizer, 1, 2)
    return [schedulers.SequentialLR(optimizer, [by_function, restarts], [4])]


def beside(combined: Callable[[Any, bool], list[Any]], **options: Any) -> dict[str, Any]:
    """Beside a schedule the rates of two groups over eight epochs under schedulers, the second of which follows after four; from
    the third on they are others that loaded their state, and from the fifth on copies; and the rates of the copied optimizer."""
    made: list[Any] = []
    for first in (True, False):
        groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.5)]
        optimizer = torch.optim.SGD(groups, lr=1.0)
        made.append((optimizer, combined(optimizer, first)))
    (optimizer, parts), left = made[0], made[1][0]
    rates = [rates_of(optimizer)]
    for epoch in range(8):
        if epoch == 2:
            states = copy.deepcopy([each.state_dict() for each in (optimizer, *parts)])
            optimizer, parts = made[1]
            for each, state in zip((*parts, optimizer), (*states[1:], states[0]), strict=True):
                each.load_state_dict(state)
        if epoch == 4:
            optimizer, parts = copy.deepcopy((optimizer, parts))
        part = parts[0 if epoch < 4 else -1]
        # A metric that is no number is no improvement.
        metric = (float("nan") if epoch else 1.0,)
        optimizer.step()
        part.step(*(metric if isinstance(part, torch.optim.lr_scheduler.ReduceLROnPlateau) else ()))
        rates.append(rates_of(optimizer))
    return {**scheduled(**options), "combined": torch.cat(rates), "left": rates_of(left)}
