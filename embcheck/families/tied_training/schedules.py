"""Learning-rate schedules of a run: functions that import nothing but torch; each gives what is called after a step."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.tied_training.training_steps import Function

SCHEDULES: dict[str, Function] = {}


@into(SCHEDULES)
def constant(optimizer: Any) -> Any:
    return None


@into(SCHEDULES)
def step_lr(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5).step


@into(SCHEDULES)
def step_lr_two(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.25).step


@into(SCHEDULES)
def multi_step(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3], 0.5).step


@into(SCHEDULES)
def constant_lr(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ConstantLR(optimizer, 0.5, 2).step


@into(SCHEDULES)
def linear(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LinearLR(optimizer, 0.5, 1.0, 2).step


@into(SCHEDULES)
def exponential(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.5).step


@into(SCHEDULES)
def polynomial(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.PolynomialLR(optimizer, 4, 1.0).step


@into(SCHEDULES)
def cosine(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 4).step


@into(SCHEDULES)
def warm_restarts(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 2).step


@into(SCHEDULES)
def harmonic(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.LambdaLR(optimizer, lambda k: 1 / (k + 1)).step


@into(SCHEDULES)
def multiplicative(optimizer: Any) -> Any:
    return torch.optim.lr_scheduler.MultiplicativeLR(optimizer, lambda k: 0.5).step


@into(SCHEDULES)
def plateau(optimizer: Any) -> Any:
    scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    return lambda: scheduler.step(1.0)


@into(SCHEDULES)
def sequential(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    parts = [rates.ConstantLR(optimizer, 0.5, 8), rates.ExponentialLR(optimizer, 0.5)]
    return rates.SequentialLR(optimizer, parts, [2]).step


@into(SCHEDULES)
def chained(optimizer: Any) -> Any:
    rates = torch.optim.lr_scheduler
    return rates.ChainedScheduler([rates.ConstantLR(optimizer, 0.5, 2), rates.ExponentialLR(optimizer, 0.5)]).step
