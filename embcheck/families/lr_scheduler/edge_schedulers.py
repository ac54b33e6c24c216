"""Programs: schedulers at the ends of what their arguments may be; registered with the other `schedulers`.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from typing import Any

import torch

import embcheck.families.lr_scheduler.further_schedulers  # noqa: F401  (registers its own before those here)
from embcheck.core.registry import into
from embcheck.families.lr_scheduler.schedulers import PLANS

_plan = into(PLANS)

# -- over no steps, and by a factor of zero ------------------------------------------------------------------------


@_plan
def constant_of_none(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, total_iters=0)


@_plan
def linear_of_none(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 0.25, 0.5, total_iters=0)


@_plan
def constant_frozen(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.0, total_iters=2, **more)


@_plan
def multi_step_at_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [0, 3], 0.5, **more)


@_plan
def multi_step_never(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [], 0.5, **more)


@_plan
def cyclic_sawtooth(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.5, 1.5, 3, step_size_down=0, cycle_momentum=False, **more)


@_plan
def sequential_without_warmup(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [rates.LinearLR(optimizer, 0.25, total_iters=0), rates.ExponentialLR(optimizer, 0.5)]
    return rates.SequentialLR(optimizer, parts, [0])


@_plan
def sequential_skipping(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [rates.ConstantLR(optimizer, 0.5, 99), rates.ConstantLR(optimizer, 0.25, 99), rates.StepLR(optimizer, 2)]
    return rates.SequentialLR(optimizer, parts, [2, 2])


@_plan
def sequential_cyclic(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [rates.ConstantLR(optimizer, 0.5, 99), rates.CyclicLR(optimizer, 0.5, 1.5, 2, cycle_momentum=False)]
    return rates.SequentialLR(optimizer, parts, [2])


@_plan
def restarts_thrice(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 1, T_mult=3, **more)


# -- cycles whose phases are of one step, or of all ----------------------------------------------------------------


@_plan
def one_cycle_of_one_step(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=10, pct_start=0.1, base_momentum=0.5, max_momentum=0.75, div_factor=4.0,
        final_div_factor=16.0, **more,
    )  # fmt: skip


@_plan
def one_cycle_three_of_one_step(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=10, pct_start=0.1, anneal_strategy="linear", cycle_momentum=False, div_factor=2.0,
        final_div_factor=8.0, three_phase=True, **more,
    )  # fmt: skip


@_plan
def one_cycle_climbing(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, total_steps=12, pct_start=1.0, anneal_strategy="linear", base_momentum=0.5, max_momentum=0.75,
        div_factor=4.0, **more,
    )  # fmt: skip


@_plan
def one_cycle_level(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, 13, pct_start=0.25, anneal_strategy="linear", base_momentum=0.5, max_momentum=0.75,
        three_phase=True, div_factor=2.0, final_div_factor=1.0, **more,
    )  # fmt: skip


# -- by what can be called and is no Python function ---------------------------------------------------------------


def falling() -> Any:
    """1 / (1 + epoch), by a method of a table."""
    return [1 / (1 + epoch) for epoch in range(256)].__getitem__


@_plan
def by_table(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, falling(), **more)


@_plan
def multiplied_by_table(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.MultiplicativeLR(optimizer, falling(), **more)


@_plan
def cyclic_table(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.25, 1.25, 2, scale_fn=falling(), cycle_momentum=False, **more)


@_plan
def by_partial(optimizer: Any, **more: Any) -> Any:
    import functools

    return torch.optim.lr_scheduler.LambdaLR(optimizer, functools.partial(pow, 0.5), **more)


@_plan
def by_method(optimizer: Any, **more: Any) -> Any:
    class Decay:
        def at(self, epoch: int) -> float:
            return 1 / (1 + epoch)

    return torch.optim.lr_scheduler.LambdaLR(optimizer, Decay().at, **more)
