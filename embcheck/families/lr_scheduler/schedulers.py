"""Programs: schedulers of torch.optim, each made for an optimizer with one or two groups.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

#: Makes a scheduler of an optimizer with one or two groups; one that has a formula takes last_epoch, too.
Make = Callable[..., Any]
PLANS: dict[str, Make] = {}

_plan = into(PLANS)


@_plan
def step_two(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5, **more)


@_plan
def step_default(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 3, **more)


@_plan
def multi_step(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, milestones=[1, 4], gamma=0.25, **more)


@_plan
def multi_step_repeated(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 2, 5], 0.5, **more)


@_plan
def exponential(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.75, **more)


@_plan
def constant(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, factor=0.25, total_iters=3, **more)


@_plan
def linear(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, start_factor=0.25, end_factor=1.0, total_iters=3, **more)


@_plan
def linear_down(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, 4, **more)


@_plan
def polynomial(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, total_iters=5, power=2.0, **more)


@_plan
def polynomial_root(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, 6, 0.5, **more)


@_plan
def cosine(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=4, eta_min=0.125, **more)


@_plan
def restarts(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=3, eta_min=0.125, **more)


@_plan
def restarts_by_halves(optimizer: Any) -> Any:
    class Halves(torch.optim.lr_scheduler.CosineAnnealingWarmRestarts):
        times = -1

        def step(self, epoch: Any = None) -> None:
            self.times += 1
            super().step(self.times / 2)

    return Halves(optimizer, 3, eta_min=0.125)


@_plan
def restarts_longer(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2, T_mult=2, **more)


@_plan
def by_function(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch), **more)


@_plan
def by_functions(optimizer: Any, **more: Any) -> Any:
    functions = [lambda epoch: 0.5**epoch, lambda epoch: 1.0 + epoch][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.LambdaLR(optimizer, functions, **more)


@_plan
def multiplied(optimizer: Any, **more: Any) -> Any:
    functions = [lambda epoch: 0.5, lambda epoch: 1.0 + epoch][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.MultiplicativeLR(optimizer, functions, **more)


@_plan
def cyclic(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, base_lr=0.5, max_lr=1.5, step_size_up=2, cycle_momentum=False, **more
    )


@_plan
def cyclic_halved(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.5, 1.5, 1, 3, "triangular2", base_momentum=0.25, max_momentum=0.75, **more
    )


@_plan
def cyclic_range(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer,
        0.0,
        1.0,
        step_size_up=3,
        step_size_down=1,
        mode="exp_range",
        gamma=0.75,
        cycle_momentum=False,
        **more,
    )


@_plan
def cyclic_function(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, 0.25, 1.25, 2, scale_fn=lambda k: 1 / k, scale_mode="cycle", cycle_momentum=False, **more
    )


@_plan
def one_cycle(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=1.0, total_steps=12, pct_start=0.25, base_momentum=0.5, max_momentum=0.75, div_factor=4.0,
        final_div_factor=16.0, **more,
    )  # fmt: skip


@_plan
def one_cycle_linear(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        2.0,
        epochs=3,
        steps_per_epoch=4,
        pct_start=0.5,
        anneal_strategy="linear",
        cycle_momentum=False,
        **more,
    )


@_plan
def one_cycle_three(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, 1.0, 13, pct_start=0.4, anneal_strategy="linear", three_phase=True, div_factor=2.0,
        final_div_factor=8.0, **more,
    )  # fmt: skip


@_plan
def cyclic_of_groups(optimizer: Any, **more: Any) -> Any:
    groups = len(optimizer.param_groups)
    momenta: Any = {"base_momentum": [0.25, 0.5][:groups], "max_momentum": [0.75, 0.875][:groups]}
    return torch.optim.lr_scheduler.CyclicLR(
        optimizer, [0.5, 0.25][:groups], [1.5, 2.0][:groups], 2, 2, **momenta, **more
    )


@_plan
def one_cycle_of_groups(optimizer: Any, **more: Any) -> Any:
    groups = len(optimizer.param_groups)
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, [1.0, 0.5][:groups], total_steps=12, pct_start=0.25, base_momentum=[0.5, 0.25][:groups],
        max_momentum=[0.75, 0.875][:groups], div_factor=4.0, final_div_factor=16.0, **more,
    )  # fmt: skip


@_plan
def sequential(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [
        rates.ConstantLR(optimizer, 0.5, 99),
        rates.ExponentialLR(optimizer, 0.5),
        rates.StepLR(optimizer, 1, 0.25),
    ]
    return rates.SequentialLR(optimizer, parts, milestones=[2, 5])


@_plan
def chained(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.ChainedScheduler([rates.ConstantLR(optimizer, 0.5, 2), rates.ExponentialLR(optimizer, 0.75)])


@_plan
def averaging(optimizer: Any, **more: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, swa_lr=0.125, anneal_epochs=4, anneal_strategy="linear", **more)


@_plan
def averaging_cosine(optimizer: Any, **more: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, 2.0, 3, "cos", **more)


@_plan
def plateau(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)


@_plan
def plateau_patient(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, "min", 0.5, 1, 0.5, "abs", 2, 0.125)


@_plan
def plateau_highest(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="max", factor=0.25, patience=1, threshold=0.25)


@_plan
def plateau_highest_absolute(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, mode="max", factor=0.5, patience=0, threshold=1.5, threshold_mode="abs", cooldown=1, eps=0.2
    )


@_plan
def plateau_of_groups(optimizer: Any) -> Any:
    least = [0.5, 0.0][: len(optimizer.param_groups)]
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, min_lr=least)


# -- at their shortest ---------------------------------------------------------------------------------------------


@_plan
def step_each(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5, **more)


@_plan
def constant_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, 1, **more)


@_plan
def linear_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, total_iters=1, **more)


@_plan
def polynomial_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, 1, **more)


@_plan
def cosine_each(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1, 0.125, **more)


@_plan
def restarts_each(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 1, **more)


@_plan
def cyclic_each(optimizer: Any, **more: Any) -> Any:
    return torch.optim.lr_scheduler.CyclicLR(optimizer, 0.5, 1.5, 1, 1, cycle_momentum=False, **more)


@_plan
def averaging_once(optimizer: Any, **more: Any) -> Any:
    return torch.optim.swa_utils.SWALR(optimizer, 0.125, 1, "linear", **more)


@_plan
def sequential_each(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [rates.ConstantLR(optimizer, 0.5, 99), rates.ExponentialLR(optimizer, 0.5)]
    return rates.SequentialLR(optimizer, parts, [1])


@_plan
def chained_alone(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.ChainedScheduler([rates.ExponentialLR(optimizer, 0.75)])
