"""Programs: schedulers within schedulers, by objects that keep a state, with momentum, at once; registered with the others.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.lr_scheduler.schedulers import PLANS, chained, sequential

_plan = into(PLANS)

# -- one within another --------------------------------------------------------------------------------------------


@_plan
def sequential_alone(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.SequentialLR(optimizer, [rates.ExponentialLR(optimizer, 0.75)], [])


@_plan
def sequential_within(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.SequentialLR(optimizer, [sequential(optimizer)], [])


@_plan
def chained_within(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [chained(optimizer)], [])


@_plan
def chained_sequential(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.ChainedScheduler([sequential(optimizer)])


@_plan
def sequential_then_chained(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    chain = rates.ChainedScheduler([rates.ExponentialLR(optimizer, 0.75)])
    return rates.SequentialLR(optimizer, [rates.ConstantLR(optimizer, 0.5, 99), chain], [2])


# -- by objects that remember, whose state is the scheduler's ------------------------------------------------------


def remembering(rising: bool = False) -> Any:
    """A function of the epoch that depends on which epochs it was called for, however often; it keeps them."""

    class Remembering:
        def __init__(self) -> None:
            self.met: dict[int, bool] = {}

        def __call__(self, epoch: int) -> float:
            self.met = {**self.met, epoch: True}  # a state that has the old one stays
            steps = sum(each > 0 for each in self.met)
            return 1.0 + steps if rising else 1.0 / max(steps, 1)

    return Remembering()


@_plan
def by_objects(optimizer: Any) -> Any:
    functions = [remembering(), remembering(rising=True)][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, functions)


@_plan
def multiplied_by_objects(optimizer: Any) -> Any:
    functions = [remembering(), remembering(rising=True)][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.MultiplicativeLR(optimizer, functions)


# -- momentum under an exponential range; annealing that does not wait --------------------------------------------


@_plan
def cyclic_range_momentum(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.5, 1.5, 1, 2, "exp_range", 0.75, base_momentum=0.25, max_momentum=0.875, **more
    )


@_plan
def cyclic_function_momentum(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.25, 1.25, 2, 1, scale_fn=lambda k: 1 / (1 + k), scale_mode="iterations", base_momentum=0.25,
        max_momentum=0.75, **more,
    )  # fmt: skip


@_plan
def averaging_at_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, 0.125, anneal_epochs=0, **more)


@_plan
def averaging_at_once_linear(optimizer: Any, **more: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, 0.125, 0, "linear", **more)
