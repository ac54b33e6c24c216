"""Faults of schedulers at the ends of their arguments, told the epoch, made at a last epoch, and of states they load."""

from __future__ import annotations

import functools
from typing import Any

from embcheck.faults.parameter_corners import Change, spoiled
from embcheck.faults.schedules import Share, averaging, first, optimizer_of, rates, schedule, scheduling, with_attribute

# -- at the ends of what the arguments may be ----------------------------------------------------------------------


def sequence(milestone: int) -> float:
    """The rate that is set when one scheduler is to follow upon another at a milestone."""
    optimizer = optimizer_of()
    parts = [schedule.ConstantLR(optimizer, 0.5), schedule.ExponentialLR(optimizer, 0.5)]
    return float(schedule.SequentialLR(optimizer, parts, [milestone]).get_last_lr()[0])


def _without_zero(original: Change, self: Any, optimizer: Any, milestones: Any, *given: Any, **flags: Any) -> None:
    """A MultiStepLR without a milestone at epoch 0."""
    original(self, optimizer, [epoch for epoch in milestones if epoch], *given, **flags)


def with_flag(flag: str, value: Any, instead: Any) -> Change:
    """A constructor that takes a value of an argument for another."""

    def change(original: Change, self: Any, *given: Any, **flags: Any) -> None:
        original(self, *given, **flags | ({flag: instead} if flags.get(flag) == value else {}))

    return change


def _zero_at_last(original: Change, self: Any) -> list[Any]:
    """The rates; 0 at the last step."""
    found = original(self)
    return [rate * 0 for rate in found] if self.last_epoch == self.total_steps else list(found)


scheduling("sequence_begins_with_the_first", "SequentialLR takes a milestone of 0 for one of 1.", "SequentialLR", "__init__",
           lambda original, self, optimizer, schedulers, milestones, *given: (
               original(self, optimizer, schedulers, [max(epoch, 1) for epoch in milestones], *given)),
           lambda: sequence(0) != 1)  # fmt: skip
scheduling("multi_step_waits_at_zero", "MultiStepLR ignores a milestone at epoch 0.", "MultiStepLR", "__init__",
           _without_zero, lambda: first(rates("MultiStepLR", milestones=[0], gamma=0.5))[0] != 0.5)  # fmt: skip
scheduling("constant_factor_of_zero_is_the_default", "ConstantLR takes a factor of 0 for none.", "ConstantLR", "__init__",
           lambda original, self, optimizer, factor=1 / 3, *given, **flags: (
               original(self, optimizer, factor or 1 / 3, *given, **flags)),
           lambda: first(rates("ConstantLR", 1, factor=0.0))[0] != 0)  # fmt: skip
scheduling("cyclic_never_drops_at_once", "CyclicLR takes step_size_down=0 for None.", "CyclicLR", "__init__",
           with_flag("step_size_down", 0, None),
           lambda: first(rates("CyclicLR", 2, base_lr=0.5, max_lr=1.5, step_size_up=2, step_size_down=0))[2] != 0.5)  # fmt: skip
scheduling("one_cycle_of_all_is_of_a_percent", "OneCycleLR takes pct_start=1.0 for one percent.", "OneCycleLR", "__init__",
           with_flag("pct_start", 1.0, 0.01),
           lambda: first(rates("OneCycleLR", 3, max_lr=1.0, total_steps=4, pct_start=1.0))[3] != 1)  # fmt: skip
scheduling("one_cycle_ends_at_zero", "OneCycleLR's rate is 0 at the last step of the documented loop.", "OneCycleLR", "get_lr",
           _zero_at_last,
           lambda: first(rates("OneCycleLR", 4, max_lr=1.0, total_steps=4))[4] == 0)  # fmt: skip


# -- told the epoch ------------------------------------------------------------------------------------------------


def told(kind: str, epoch: int, **flags: Any) -> float:
    """The rate of a scheduler that is told an epoch."""
    optimizer = optimizer_of()
    scheduler = getattr(schedule, kind)(optimizer, **flags)
    optimizer.step()
    scheduler.step(epoch)
    return round(float(optimizer.param_groups[0]["lr"]), 6)


def _told_of_equal_cycles(original: Change, self: Any, epoch: Any = None) -> None:
    """A step; the cycles are equal if an epoch is told."""
    if epoch is None or self.last_epoch < 0:
        original(self, epoch)
    else:
        with_attribute("T_mult", lambda self: 1)(original, self, epoch)


scheduling("restarts_by_epoch_forget_to_grow", "CosineAnnealingWarmRestarts.step(epoch) forgets T_mult.",
           "CosineAnnealingWarmRestarts", "step", _told_of_equal_cycles,
           lambda: told("CosineAnnealingWarmRestarts", 3, T_0=1, T_mult=3) == 1)  # fmt: skip
scheduling("exponential_told_is_late", "ExponentialLR.step(epoch) gives the rate of the epoch before.", "ExponentialLR",
           "_get_closed_form_lr", with_attribute("last_epoch", lambda self: max(self.last_epoch - 1, 0)),
           lambda: told("ExponentialLR", 3, gamma=0.5) != 0.125)  # fmt: skip


# -- made at a last epoch ------------------------------------------------------------------------------------------


def made(kind: Any, last_epoch: int, **flags: Any) -> float:
    """The rate of a scheduler that is made at a last epoch, on an optimizer whose rate is half of what it was."""
    optimizer = optimizer_of()
    optimizer.param_groups[0] |= {"initial_lr": 1.0, "lr": 0.5}
    kind(optimizer, last_epoch=last_epoch, **flags)
    return float(optimizer.param_groups[0]["lr"])


def _from_its_base(original: Change, self: Any, optimizer: Any, *given: Any, **flags: Any) -> None:
    """A scheduler that begins at the initial rate, though it is made at a last epoch."""
    if flags.get("last_epoch", -1) >= 0:
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * 1
    original(self, optimizer, *given, **flags)


scheduling("exponential_made_late_decays_at_once", "ExponentialLR that is made at a last epoch decays at once.",
           "ExponentialLR", "get_lr", with_attribute("_is_initial", lambda self: self._is_initial and self.last_epoch == 0),
           lambda: made(schedule.ExponentialLR, 0, gamma=0.5) != 0.5)  # fmt: skip
scheduling("lambda_forgets_its_last_epoch", "LambdaLR ignores last_epoch.", "LambdaLR", "__init__",
           lambda original, self, *given, last_epoch=-1, **flags: original(self, *given, **flags),
           lambda: made(schedule.LambdaLR, 0, lr_lambda=lambda epoch: 1 / (1 + epoch)) != 0.5)  # fmt: skip
spoiled("averaging_made_late_begins_anew", "schedule", "SWALR that is made at a last epoch begins at the initial rate.",
        averaging.SWALR, "__init__", _from_its_base,
        lambda: made(averaging.SWALR, 0, swa_lr=0.25, anneal_epochs=4) == 1)  # fmt: skip


# -- states and functions ------------------------------------------------------------------------------------------


def left_of_state(kind: str, entry: str, **flags: Any) -> bool:
    """Whether a state still has an entry after it was loaded."""
    state = getattr(schedule, kind)(optimizer_of(), **flags).state_dict()
    getattr(schedule, kind)(optimizer_of(), **flags).load_state_dict(state)
    return entry in state


def _takes_functions(original: Change, self: Any, state: Any) -> None:
    """The state, out of which the functions' is taken."""
    original(self, state)
    del state["lr_lambdas"]


def _drops_reached(original: Change, self: Any) -> Any:
    """The rates; milestones that are reached are dropped."""
    found = original(self)
    if self.last_epoch > 0:
        self.milestones.pop(self.last_epoch, None)
    return found


def milestones_left() -> int:
    """How many milestones a MultiStepLR has after all are reached."""
    optimizer = optimizer_of()
    scheduler = schedule.MultiStepLR(optimizer, [1, 2])
    for _ in range(3):
        optimizer.step()
        scheduler.step()
    return len(scheduler.milestones)


def _no_partials(original: Change, self: Any) -> Any:
    """The state, unless a function is a partial one."""
    if any(isinstance(function, functools.partial) for function in self.lr_lambdas):
        raise TypeError("cannot save a partial function")
    return original(self)


def saves_partials() -> bool:
    """Whether a LambdaLR of a partial function has a state."""
    try:
        return bool(schedule.LambdaLR(optimizer_of(), functools.partial(pow, 0.5)).state_dict())
    except TypeError:
        return False


def _first_object(original: Change, self: Any, state: Any) -> None:
    """The state, of whose functions the first alone is loaded."""
    kept = [function if k == 0 else None for k, function in enumerate(state["lr_lambdas"])]
    original(self, {**state, "lr_lambdas": kept})


def resumed_shares() -> list[float]:
    """The shares of two groups' objects, once they are resumed."""
    made = []
    for share in (0.5, 0.25):
        optimizer = optimizer_of()
        optimizer.add_param_group({"params": [optimizer.param_groups[0]["params"][0].detach().clone()]})
        made.append(schedule.LambdaLR(optimizer, [Share(share), Share(share)]))
    told, other = made
    other.load_state_dict(told.state_dict())
    functions: list[Any] = other.lr_lambdas
    return [function.share for function in functions]


scheduling("lambda_resumes_the_first_object", "LambdaLR.load_state_dict gives the first group's object its state alone.",
           "LambdaLR", "load_state_dict", _first_object, lambda: resumed_shares() != [0.5, 0.5])  # fmt: skip
scheduling("lambda_empties_what_it_loads", "LambdaLR.load_state_dict takes the functions' state out of what it is given.",
           "LambdaLR", "load_state_dict", _takes_functions,
           lambda: not left_of_state("LambdaLR", "lr_lambdas", lr_lambda=lambda epoch: 1.0))  # fmt: skip
scheduling("multi_step_drops_what_it_reached", "MultiStepLR drops reached milestones, also those of the state it loaded.",
           "MultiStepLR", "get_lr", _drops_reached, lambda: milestones_left() != 2)  # fmt: skip
scheduling("lambda_of_a_partial_has_no_state", "LambdaLR of a partial function has no state.", "LambdaLR", "state_dict",
           _no_partials, lambda: not saves_partials())  # fmt: skip
