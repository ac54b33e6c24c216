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


def first(found: list[tuple[float, ...]]) -> list[float]:
    """The first group's."""
    return [rate for rate, *_ in found]


def scheduling(
    name: str, sentence: str, kind: str, attribute: str, change: Change, witness: Callable[[], bool]
) -> None:
    """A fault of a scheduler's method: ``change(original, self, *arguments)``."""
    spoiled(name, "lr_scheduler", sentence, getattr(schedule, kind), attribute, change, witness)


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
           with_attribute("last_epoch", lambda self: max(self.last_epoch - 1, 0)),
           lambda: first(rates("StepLR", step_size=2, gamma=0.5))[2] != 0.5)  # fmt: skip
scheduling("schedule_state_forgets_the_epoch", "A scheduler's state is loaded without its epoch.", "LRScheduler",
           "load_state_dict",
           lambda original, self, state: original(self, {k: v for k, v in state.items() if k != "last_epoch"}),
           lambda: resumed() != 2)  # fmt: skip


def stepped(optimizer: Any, scheduler: Any, steps: int) -> float:
    """The learning rate after some steps."""
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return float(optimizer.param_groups[0]["lr"])


def optimizer_of() -> Any:
    """SGD on a table."""
    return torch.optim.SGD([Parameter(table())], lr=1.0)


def resumed() -> int:
    """The epoch of a scheduler that was resumed after two."""
    one, other = optimizer_of(), optimizer_of()
    scheduler = schedule.ExponentialLR(one, 0.5)
    stepped(one, scheduler, 2)
    again = schedule.ExponentialLR(other, 0.5)
    again.load_state_dict(scheduler.state_dict())
    return int(again.last_epoch)


# -- averaged models -----------------------------------------------------------------------------------------------


def averaged(values: tuple[float, ...], **flags: Any) -> Any:
    """An averaged layer after some values of its weight."""
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.register_buffer("seen", torch.zeros(1))
    model = averaging.AveragedModel(layer, **flags)
    for number in values:
        with torch.no_grad():
            layer.weight.fill_(number)
            layer.get_buffer("seen").fill_(number)
        model.update_parameters(layer)
    return model


spoiled("average_forgets_buffers", "clip_average_scale", "AveragedModel ignores use_buffers.", averaging.AveragedModel, "__init__",
        lambda original, self, *given, use_buffers=False, **flags: original(self, *given, **flags),
        lambda: float(averaged((0.0, 4.0), use_buffers=True).module.seen) != 2)  # fmt: skip


# -- what a schedule leaves --------------------------------------------------------------------------------------


def second_betas(kind: str, **flags: Any) -> list[float]:
    """The second beta of AdamW's two groups after a step of a schedule."""
    groups = [{"params": [Parameter(table())], "betas": (0.5, second)} for second in (0.875, 0.75)]
    optimizer = torch.optim.AdamW(groups, lr=1.0)
    scheduler = getattr(schedule, kind)(optimizer, **flags)
    optimizer.step()
    scheduler.step()
    return [group["betas"][1] for group in optimizer.param_groups]


def of_the_first(original: Change, self: Any, *given: Any) -> Any:
    """The rates, and all groups' second beta is the first group's."""
    found = original(self, *given)
    for group in self.optimizer.param_groups[1:]:
        if self.last_epoch > 0 and "betas" in group:
            group["betas"] = (group["betas"][0], *self.optimizer.param_groups[0]["betas"][1:])
    return found


scheduling("one_cycle_second_beta_of_first_group", "OneCycleLR gives every group the second beta of the first.",
           "OneCycleLR", "get_lr", of_the_first,
           lambda: second_betas("OneCycleLR", max_lr=1.0, total_steps=5)[1] != 0.75)  # fmt: skip


# -- scaled gradients ----------------------------------------------------------------------------------------------


def scaled(infinite: bool) -> tuple[float, float]:
    """A weight after a scaled step, and the scale afterwards."""
    weight = Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([weight], lr=0.5)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0, growth_interval=1)
    scaler.scale((weight * (float("inf") if infinite else 1.0)).sum()).backward()
    scaler.step(optimizer)
    scaler.update()
    return float(weight), scaler.get_scale()


spoiled("scaler_does_not_unscale", "clip_average_scale", "GradScaler does not grow its scale.", torch.amp.GradScaler, "update",
        lambda original, self, new_scale=None: original(self, self._scale.clone()), lambda: scaled(False)[1] != 8)  # fmt: skip
