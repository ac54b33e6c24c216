"""Faults of the schedulers of learning rates, of averaged models and of scaled gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.parameter_corners import Change, spoiled
from selfcheck.faults.parameters import Parameter, table

schedule: Any = torch.optim.lr_scheduler
averaging = importlib.import_module("torch.optim.swa_utils")


def rates(kind: str, steps: int = 4, groups: int = 1, **flags: Any) -> list[tuple[float, ...]]:
    """The learning rates of SGD's groups under a scheduler, before each step and after the last."""
    optimizer = torch.optim.SGD([{"params": [Parameter(table())]} for _ in range(groups)], lr=1.0, momentum=0.5)
    scheduler = getattr(schedule, kind)(optimizer, **flags)
    found = []
    for _ in range(steps):
        found.append(tuple(round(float(group["lr"]), 6) for group in optimizer.param_groups))
        optimizer.step()
        scheduler.step()
    return [*found, tuple(round(float(group["lr"]), 6) for group in optimizer.param_groups)]


def scheduling(name: str, sentence: str, kind: str, attribute: str, change: Change) -> None:
    """A fault of a scheduler's method: ``change(original, self, *arguments)``."""
    spoiled(name, "lr_scheduler", sentence, getattr(schedule, kind), attribute, change)


def with_attribute(attribute: str, value: Callable[[Any], Any]) -> Change:
    """A method that runs with another attribute of its object."""

    def change(original: Change, self: Any, *given: Any, **flags: Any) -> Any:
        before = getattr(self, attribute)
        setattr(self, attribute, value(self))
        try:
            return original(self, *given, **flags)
        finally:
            setattr(self, attribute, before)

    return change


scheduling("step_lr_is_late", "StepLR steps one epoch late.", "StepLR", "get_lr",
           with_attribute("last_epoch", lambda self: max(self.last_epoch - 1, 0)))  # fmt: skip
scheduling("schedule_state_forgets_the_epoch", "A scheduler's state is loaded without its epoch.", "LRScheduler",
           "load_state_dict",
           lambda original, self, state: original(self, {k: v for k, v in state.items() if k != "last_epoch"}))  # fmt: skip


# -- averaged models -----------------------------------------------------------------------------------------------


spoiled("average_forgets_buffers", "clip_average_scale", "AveragedModel ignores use_buffers.", averaging.AveragedModel, "__init__",
        lambda original, self, *given, use_buffers=False, **flags: original(self, *given, **flags))  # fmt: skip


# -- what a schedule leaves --------------------------------------------------------------------------------------


def of_the_first(original: Change, self: Any, *given: Any) -> Any:
    """The rates, and all groups' second beta is the first group's."""
    found = original(self, *given)
    for group in self.optimizer.param_groups[1:]:
        if self.last_epoch > 0 and "betas" in group:
            group["betas"] = (group["betas"][0], *self.optimizer.param_groups[0]["betas"][1:])
    return found


scheduling("one_cycle_second_beta_of_first_group", "OneCycleLR gives every group the second beta of the first.",
           "OneCycleLR", "get_lr", of_the_first)  # fmt: skip


# -- scaled gradients ----------------------------------------------------------------------------------------------


spoiled("scaler_does_not_unscale", "clip_average_scale", "GradScaler does not grow its scale.", torch.amp.GradScaler, "update",
        lambda original, self, new_scale=None: original(self, self._scale.clone()))  # fmt: skip
