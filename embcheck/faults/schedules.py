"""Faults of the schedulers of learning rates, of averaged models and of scaled gradients."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.parameters import Parameter, table

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
    spoiled(name, "schedule", sentence, getattr(schedule, kind), attribute, change, witness)


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
scheduling("multi_step_forgets_repeated", "MultiStepLR takes a repeated milestone for one.", "MultiStepLR", "get_lr",
           with_attribute("milestones", lambda self: type(self.milestones)(set(self.milestones))),
           lambda: first(rates("MultiStepLR", milestones=[1, 1], gamma=0.5))[1] != 0.25)  # fmt: skip
scheduling("exponential_squares", "ExponentialLR squares gamma from the third epoch on.", "ExponentialLR", "get_lr",
           with_attribute("gamma", lambda self: self.gamma ** (2 if self.last_epoch >= 3 else 1)),
           lambda: first(rates("ExponentialLR", gamma=0.5))[3] != 0.125)  # fmt: skip
scheduling("constant_never_ends", "ConstantLR never ends.", "ConstantLR", "get_lr",
           with_attribute("total_iters", lambda self: 10**9),
           lambda: first(rates("ConstantLR", factor=0.5, total_iters=2))[2] != 1)  # fmt: skip
scheduling("linear_start", "LinearLR ends at its start.", "LinearLR", "get_lr",
           with_attribute("end_factor", lambda self: self.start_factor),
           lambda: first(rates("LinearLR", start_factor=0.5, total_iters=2))[2] != 1)  # fmt: skip
scheduling("cosine_forgets_minimum", "CosineAnnealingLR forgets eta_min.", "CosineAnnealingLR", "get_lr",
           with_attribute("eta_min", lambda self: 0.0),
           lambda: first(rates("CosineAnnealingLR", T_max=2, eta_min=0.5))[2] != 0.5)  # fmt: skip
scheduling("polynomial_power", "PolynomialLR takes its power for one.", "PolynomialLR", "get_lr",
           with_attribute("power", lambda self: 1.0),
           lambda: first(rates("PolynomialLR", total_iters=2, power=2.0))[1] != 0.25)  # fmt: skip
scheduling("restarts_multiply", "CosineAnnealingWarmRestarts forgets T_mult.", "CosineAnnealingWarmRestarts", "step",
           with_attribute("T_mult", lambda self: 1),
           lambda: first(rates("CosineAnnealingWarmRestarts", 8, T_0=2, T_mult=2))[4] == 1)  # fmt: skip
scheduling("lambda_of_the_first_group", "LambdaLR takes the first group's function for all.", "LambdaLR", "get_lr",
           with_attribute("lr_lambdas", lambda self: self.lr_lambdas[:1] * len(self.lr_lambdas)),
           lambda: rates("LambdaLR", 1, 2, lr_lambda=[lambda e: 1.0, lambda e: 0.5])[1][1] != 0.5)  # fmt: skip
scheduling("multiplicative_is_absolute", "MultiplicativeLR's factor counts from the base rate.", "MultiplicativeLR", "get_lr",
           lambda original, self: (
               [base * f(self.last_epoch) for base, f in zip(self.base_lrs, self.lr_lambdas, strict=True)]
               if self.last_epoch else original(self)),
           lambda: first(rates("MultiplicativeLR", lr_lambda=lambda e: 0.5))[2] != 0.25)  # fmt: skip
scheduling("one_cycle_ends_high", "OneCycleLR takes final_div_factor for one.", "OneCycleLR", "__init__",
           lambda original, self, *given, final_div_factor=1e4, **flags: original(self, *given, final_div_factor=1.0, **flags),
           lambda: first(rates("OneCycleLR", 3, max_lr=1.0, total_steps=4, final_div_factor=4.0))[3] != 0.01)  # fmt: skip
scheduling("one_cycle_keeps_momentum", "OneCycleLR leaves the momentum.", "OneCycleLR", "__init__",
           lambda original, self, *given, cycle_momentum=True, **flags: original(self, *given, cycle_momentum=False, **flags),
           lambda: cycled("OneCycleLR", max_lr=1.0, total_steps=4) == 0.5)  # fmt: skip
scheduling("one_cycle_anneals_by_cosine", "OneCycleLR anneals by a cosine always.", "OneCycleLR", "__init__",
           lambda original, self, *given, anneal_strategy="cos", **flags: original(self, *given, **flags),
           lambda: rates("OneCycleLR", 6, max_lr=1.0, total_steps=9, pct_start=0.5, anneal_strategy="linear")
           == rates("OneCycleLR", 6, max_lr=1.0, total_steps=9, pct_start=0.5, anneal_strategy="cos"))  # fmt: skip
scheduling("cyclic_is_triangular", "CyclicLR is triangular in every mode.", "CyclicLR", "__init__",
           lambda original, self, *given, mode="triangular", **flags: original(self, *given, mode="triangular", **flags),
           lambda: rates("CyclicLR", 8, base_lr=0.5, max_lr=1.5, step_size_up=2, mode="triangular2", cycle_momentum=False)
           == rates("CyclicLR", 8, base_lr=0.5, max_lr=1.5, step_size_up=2, cycle_momentum=False))  # fmt: skip
scheduling("cyclic_descends_as_it_climbs", "CyclicLR ignores step_size_down.", "CyclicLR", "__init__",
           lambda original, self, *given, step_size_down=None, **flags: original(self, *given, **flags),
           lambda: first(rates("CyclicLR", 2, base_lr=0.5, max_lr=1.5, step_size_up=1, step_size_down=2, cycle_momentum=False))[2]
           == 0.5)  # fmt: skip
scheduling("sequential_starts_over", "SequentialLR never changes its scheduler.", "SequentialLR", "step",
           with_attribute("_milestones", lambda self: [10**9 for _ in self._milestones]), lambda: sequential() != 0.5)  # fmt: skip
scheduling("chained_steps_the_first", "ChainedScheduler steps its first scheduler only.", "ChainedScheduler", "step",
           with_attribute("_schedulers", lambda self: self._schedulers[:1]), lambda: chained() != 0.25)  # fmt: skip
scheduling("plateau_cools_not_down", "ReduceLROnPlateau ignores its cooldown.", "ReduceLROnPlateau", "step",
           with_attribute("cooldown", lambda self: 0), lambda: plateau(cooldown=2) != [1, 0.5, 0.5, 0.5, 0.25])  # fmt: skip
scheduling("plateau_has_no_least", "ReduceLROnPlateau ignores min_lr.", "ReduceLROnPlateau", "step",
           with_attribute("min_lrs", lambda self: [0.0] * len(self.min_lrs)),
           lambda: plateau(min_lr=0.5) != [1, 0.5, 0.5, 0.5, 0.5])  # fmt: skip
scheduling("plateau_minimizes", "ReduceLROnPlateau minimizes in mode max.", "ReduceLROnPlateau", "_is_better",
           lambda original, self, a, best: (
               a < best - self.threshold if self.mode == "max" and self.threshold_mode == "abs" else original(self, a, best)),
           lambda: plateau(mode="max", threshold_mode="abs", values=(1, 2, 3, 4, 5)) != [1] * 5)  # fmt: skip
scheduling("schedule_state_forgets_the_epoch", "A scheduler's state is loaded without its epoch.", "LRScheduler",
           "load_state_dict",
           lambda original, self, state: original(self, {k: v for k, v in state.items() if k != "last_epoch"}),
           lambda: resumed() != 2)  # fmt: skip
scheduling("last_rate_is_the_base", "get_last_lr() gives the base rate.", "LRScheduler", "get_last_lr",
           lambda original, self: list(getattr(self, "base_lrs", None) or original(self)), lambda: last_rate() != 0.5)  # fmt: skip


def cycled(kind: str, **flags: Any) -> float:
    """SGD's momentum when a scheduler is made."""
    optimizer = torch.optim.SGD([Parameter(table())], lr=1.0, momentum=0.5)
    getattr(schedule, kind)(optimizer, **flags)
    return float(optimizer.param_groups[0]["momentum"])


def stepped(optimizer: Any, scheduler: Any, steps: int) -> float:
    """The learning rate after some steps."""
    for _ in range(steps):
        optimizer.step()
        scheduler.step()
    return float(optimizer.param_groups[0]["lr"])


def optimizer_of() -> Any:
    """SGD on a table."""
    return torch.optim.SGD([Parameter(table())], lr=1.0)


def sequential() -> float:
    """The rate of the second scheduler in a sequence."""
    optimizer = optimizer_of()
    parts = [schedule.ConstantLR(optimizer, factor=1.0), schedule.ConstantLR(optimizer, factor=0.5, total_iters=9)]
    return stepped(optimizer, schedule.SequentialLR(optimizer, parts, milestones=[1]), 2)


def chained() -> float:
    """The rate of two schedulers together."""
    optimizer = optimizer_of()
    parts = [schedule.ExponentialLR(optimizer, 0.5), schedule.ExponentialLR(optimizer, 0.5)]
    return stepped(optimizer, schedule.ChainedScheduler(parts), 1)


def plateau(values: tuple[float, ...] = (1, 1, 1, 1, 1), **flags: Any) -> list[float]:
    """The rates after values of a metric."""
    optimizer = optimizer_of()
    scheduler = schedule.ReduceLROnPlateau(optimizer, factor=0.5, patience=0, **flags)
    found = []
    for metric in values:
        scheduler.step(metric)
        found.append(float(optimizer.param_groups[0]["lr"]))
    return found


def resumed() -> int:
    """The epoch of a scheduler that was resumed after two."""
    one, other = optimizer_of(), optimizer_of()
    scheduler = schedule.ExponentialLR(one, 0.5)
    stepped(one, scheduler, 2)
    again = schedule.ExponentialLR(other, 0.5)
    again.load_state_dict(scheduler.state_dict())
    return int(again.last_epoch)


def last_rate() -> float:
    """What get_last_lr() says after a step."""
    optimizer = optimizer_of()
    scheduler = schedule.ExponentialLR(optimizer, 0.5)
    stepped(optimizer, scheduler, 1)
    return float(scheduler.get_last_lr()[0])


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


def smoothed(original: Change, decay: float = 0.999) -> Any:
    """The exponential average with its weights swapped."""
    return original(1 - decay)


spoiled("average_ema_swaps", "aftercare", "get_ema_multi_avg_fn takes 1 − decay for decay.", averaging, "get_ema_multi_avg_fn",
        smoothed,
        lambda: float(averaged((0.0, 4.0), multi_avg_fn=averaging.get_ema_multi_avg_fn(0.75)).module.weight) != 1)  # fmt: skip
spoiled("average_forgets_buffers", "aftercare", "AveragedModel ignores use_buffers.", averaging.AveragedModel, "__init__",
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


def highest_of_the_first(original: Change, self: Any, *given: Any) -> Any:
    """The rates, under the first group's highest momentum for all."""
    if not self.cycle_momentum:
        return original(self, *given)
    return with_attribute("max_momentums", lambda it: it.max_momentums[:1] * len(it.max_momentums))(
        original, self, *given
    )


def decay_rescaled(original: Change, self: Any, *given: Any) -> Any:
    """The rates, and a second group's weight decay goes with them."""
    found = original(self, *given)
    for group in self.optimizer.param_groups[1:]:
        if group.get("momentum"):
            group["weight_decay"] /= 2
    return found


def halfway() -> Any:
    """SGD of two groups after half a cycle of CyclicLR, each with bounds of its own."""
    optimizer = torch.optim.SGD([{"params": [Parameter(table())]} for _ in range(2)], lr=1.0, momentum=0.5)
    scheduler = schedule.CyclicLR(optimizer, 0.5, 1.5, 2, base_momentum=[0.25, 0.25], max_momentum=[0.75, 0.875])
    scheduler.step()
    return optimizer


def decays() -> list[float]:
    """The weight decay of SGD's two groups after an epoch."""
    groups = [{"params": [Parameter(table())], "weight_decay": 0.5} for _ in range(2)]
    optimizer = torch.optim.SGD(groups, lr=1.0, momentum=0.5)
    scheduler = schedule.CosineAnnealingLR(optimizer, 4)
    optimizer.step()
    scheduler.step()
    return [group["weight_decay"] for group in optimizer.param_groups]


scheduling("one_cycle_second_beta_of_first_group", "OneCycleLR gives every group the second beta of the first.",
           "OneCycleLR", "get_lr", of_the_first,
           lambda: second_betas("OneCycleLR", max_lr=1.0, total_steps=5)[1] != 0.75)  # fmt: skip
scheduling("cyclic_momentum_of_first_group", "CyclicLR cycles every group's momentum between the first one's bounds.",
           "CyclicLR", "get_lr",
           highest_of_the_first,
           lambda: [group["momentum"] for group in halfway().param_groups] != [0.5, 0.5625])  # fmt: skip
scheduling("cosine_halves_second_decay", "CosineAnnealingLR halves the weight decay of later groups with momentum.",
           "CosineAnnealingLR", "get_lr", decay_rescaled, lambda: decays()[1] != 0.5)  # fmt: skip


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


spoiled("scaler_steps_on_infinity", "aftercare", "GradScaler steps on infinite gradients.", torch.amp.GradScaler,
        "_maybe_opt_step", lambda original, self, optimizer, state, *given, **more: optimizer.step(*given, **more),
        lambda: scaled(True)[0] != 1)  # fmt: skip
spoiled("scaler_does_not_unscale", "aftercare", "GradScaler does not grow its scale.", torch.amp.GradScaler, "update",
        lambda original, self, new_scale=None: original(self, self._scale.clone()), lambda: scaled(False)[1] != 8)  # fmt: skip


# -- at their shortest, and groups of one rate -----------------------------------------------------------------------


def _unlike_rates(original: Change, self: Any) -> list[Any]:
    """The rates, those of groups whose rate is that of the group before left as they are."""
    before = [group["lr"] for group in self.optimizer.param_groups]
    found = list(original(self))
    if self.last_epoch > 0:
        for k in range(1, min(len(before), len(found))):
            found[k] = before[k] if before[k] == before[k - 1] else found[k]
    return found


scheduling("exponential_skips_equal_groups", "ExponentialLR leaves a group whose rate is that of the group before.",
           "ExponentialLR", "get_lr", _unlike_rates,
           lambda: rates("ExponentialLR", 1, 2, gamma=0.5)[1] != (0.5, 0.5))  # fmt: skip
scheduling("step_lr_of_one_is_of_two", "StepLR with a step size of one steps every second epoch.", "StepLR", "get_lr",
           with_attribute("step_size", lambda self: max(self.step_size, 2)),
           lambda: first(rates("StepLR", step_size=1, gamma=0.5))[1] != 0.5)  # fmt: skip
scheduling("cosine_of_one_epoch_is_flat", "CosineAnnealingLR with T_max=1 stays where it is.", "CosineAnnealingLR", "get_lr",
           lambda original, self: (
               [group["lr"] for group in self.optimizer.param_groups] if self.T_max == 1 else original(self)),
           lambda: first(rates("CosineAnnealingLR", T_max=1, eta_min=0.5))[1] != 0.5)  # fmt: skip


# -- functions that are objects ------------------------------------------------------------------------------------


class Share:
    """A function of the epoch that has a state."""

    def __init__(self, share: float) -> None:
        self.share = share

    def __call__(self, epoch: int) -> float:
        return self.share


def _without_functions(original: Change, self: Any, state: Any) -> None:
    """The state, but for that of the functions."""
    original(self, {**state, "lr_lambdas": [None for _ in state["lr_lambdas"]]})


def loaded_share(kind: str) -> float:
    """What a function has after the state of another was loaded."""
    one, other = (getattr(schedule, kind)(optimizer_of(), Share(share)) for share in (0.5, 0.25))
    other.load_state_dict(one.state_dict())
    return float(other.lr_lambdas[0].share)


scheduling("lambda_objects_are_not_loaded", "LambdaLR.load_state_dict leaves the state of callable objects.", "LambdaLR",
           "load_state_dict", _without_functions, lambda: loaded_share("LambdaLR") != 0.5)  # fmt: skip
scheduling("multiplicative_objects_are_not_loaded", "MultiplicativeLR.load_state_dict leaves the state of callable objects.",
           "MultiplicativeLR", "load_state_dict", _without_functions,
           lambda: loaded_share("MultiplicativeLR") != 0.5)  # fmt: skip
scheduling("loaded_schedule_keeps_its_gamma", "A scheduler that loads a state keeps the gamma that it was built with.",
           "LRScheduler", "load_state_dict",
           lambda original, self, state: original(self, {k: v for k, v in state.items() if k != "gamma"}),
           lambda: loaded_gamma() != 0.5)  # fmt: skip


def loaded_gamma() -> float:
    """The gamma of a scheduler that loaded the state of another."""
    one, other = (schedule.ExponentialLR(optimizer_of(), gamma) for gamma in (0.5, 0.25))
    other.load_state_dict(one.state_dict())
    return float(other.gamma)


# -- momentum under an exponential range; annealing that does not wait --------------------------------------------


def _momentum_of_the_cycle(original: Change, self: Any) -> Any:
    """The rates; and in mode exp_range a momentum that shrinks with each cycle, not with each epoch."""
    found = original(self)
    if self.mode == "exp_range" and self.cycle_momentum:
        late = int(1 + self.last_epoch // self.total_size) - self.last_epoch
        for group, most in zip(self.optimizer.param_groups, self.max_momentums, strict=True):
            if "momentum" in group:
                group["momentum"] = most - (most - group["momentum"]) * self.gamma**late
    return found


def cycled_range(epochs: int) -> float:
    """The momentum after some epochs of CyclicLR in mode exp_range."""
    optimizer = optimizer_of()
    scheduler = schedule.CyclicLR(optimizer, 0.5, 1.5, 2, mode="exp_range", gamma=0.5)
    for _ in range(epochs):
        optimizer.step()
        scheduler.step()
    return float(optimizer.param_groups[0]["momentum"])


scheduling("exponential_momentum_shrinks_by_cycles", "CyclicLR's momentum in mode exp_range shrinks by cycles.", "CyclicLR",
           "get_lr", _momentum_of_the_cycle, lambda: abs(cycled_range(6) - (0.9 - 0.1 * 0.5**6)) > 1e-6)  # fmt: skip


def _first_epoch_waits(original: Change, self: Any) -> Any:
    """The rates; those of the first epoch are left, even if nothing is to be annealed."""
    if self.last_epoch < 1:
        return [group["lr"] for group in self.optimizer.param_groups]
    return original(self)


spoiled("annealing_in_no_epochs_waits", "schedule", "SWALR with anneal_epochs=0 leaves the rate of the first epoch.",
        averaging.SWALR, "get_lr", _first_epoch_waits,
        lambda: averaging.SWALR(optimizer_of(), 0.25, anneal_epochs=0).get_last_lr() != [0.25])  # fmt: skip
