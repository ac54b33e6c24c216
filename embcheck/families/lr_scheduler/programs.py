"""Programs: the learning rates of an optimizer's groups under a scheduler that is made, stepped and resumed, or under several."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as schedulers

from embcheck.core.registry import named


class Halving:
    """A function that can be saved: half as much at each call as at the one before."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, epoch: int) -> float:
        self.calls += 1
        return 0.5**self.calls


#: Makes the functions of the epoch that a scheduler is given, of the number of groups.
FUNCTIONS: dict[str, Callable[[int], Any]] = named(
    {
        "inverse": lambda groups: lambda epoch: 1 / (1 + epoch),
        "power_and_line": lambda groups: ([lambda epoch: 0.5**epoch] + 2 * [lambda epoch: 1.0 + epoch])[:groups],
        "half_and_line": lambda groups: ([lambda epoch: 0.5] + 2 * [lambda epoch: 1.0 + epoch])[:groups],
        "halving": lambda groups: [Halving() for _ in range(groups)],
        "half_and_halving": lambda groups: [lambda epoch: 0.5, Halving(), Halving()][:groups],
        "power": lambda groups: lambda epoch: 0.5**epoch,
    },
    prefix="by_",
)


def make(
    optimizer: Any, kind: str, arguments: tuple[Any, ...], named: dict[str, Any], function: Any = None, **more: Any
) -> Any:
    """A scheduler; one of others is given these in the same way, last the milestones of a sequence."""
    if kind == "ChainedScheduler":
        return schedulers.ChainedScheduler([make(optimizer, *part) for part in arguments])
    if kind == "SequentialLR":
        parts = [make(optimizer, *part) for part in arguments[:-1]]
        return schedulers.SequentialLR(optimizer, parts, milestones=arguments[-1])
    if kind == "ReduceLROnPlateau":
        more.clear()  # it begins where the optimizer is
    if function is not None:
        more["scale_fn" if kind == "CyclicLR" else "lr_lambda"] = function(len(optimizer.param_groups))
    module = torch.optim.swa_utils if kind == "SWALR" else schedulers
    return getattr(module, kind)(optimizer, *arguments, **named, **more)


def alike(one: Any, other: Any) -> bool:
    """Whether two states are equal: containers by what they hold, tensors by their values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def rates_of(optimizer: Any) -> torch.Tensor:
    return torch.tensor([[float(group["lr"]) for group in optimizer.param_groups]], dtype=torch.float64)


def raises(kind: type[Exception], call: Callable[[], Any]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def from_state(optimizer: Any, scheduler: Any, kept: Any, begin: Any, last_epoch: int) -> Any:
    """A scheduler that loads another's state; that state, one that is not loaded, and the rates before."""
    states = [copy.deepcopy(scheduler.state_dict()) for _ in range(2)]
    scheduler = begin(optimizer)
    states.append(rates_of(optimizer))
    scheduler.load_state_dict(states[0])
    optimizer.load_state_dict(kept)
    return scheduler, states


def from_last_epoch(optimizer: Any, scheduler: Any, kept: Any, begin: Any, last_epoch: int) -> Any:
    """A scheduler of an optimizer that has the rates of that epoch, before which one that has no first rates is refused."""
    if not raises(KeyError, lambda: begin(optimizer, last_epoch=last_epoch)):
        raise AssertionError("a scheduler goes on where there was none")
    optimizer.load_state_dict(kept)
    return begin(optimizer, last_epoch=last_epoch), []


def forgotten(scheduler: Any, state: dict[str, Any]) -> list[str]:
    """The attributes that a state lacks or has otherwise, but for the optimizer and what is packed in a way of its own; and those
    of each scheduler in it."""
    packed = ("optimizer", "_scale_fn_ref", "_scale_fn_custom", "lr_lambdas", "_schedulers", "anneal_func")
    held = {name: value for name, value in vars(scheduler).items() if name not in packed}
    parts = zip(getattr(scheduler, "_schedulers", ()), state.get("_schedulers", ()), strict=True)
    return [
        *(name for name, value in held.items() if name not in state or not alike(value, state[name])),
        *(name for part in parts for name in forgotten(*part)),
    ]


def ending_twice(function: Any) -> Any:
    """Functions of the epoch for one group more than others, the last one's again."""

    def made(groups: int) -> Any:
        found = function(groups - 1)
        return [*found, copy.copy(found[-1])] if isinstance(found, list) else found

    return made


def observe(optimizer: Any, scheduler: Any, groups: list[dict[str, Any]]) -> dict[str, Any]:
    own = optimizer.param_groups
    return {
        "forgotten": forgotten(scheduler, scheduler.state_dict()),
        "rates": [float(group["lr"]) for group in own],
        "momenta": [float(group.get("betas", (group.get("momentum"),))[0]) for group in own],
        "told": scheduler.get_last_lr(),  # which stays as it was
        "epochs": getattr(scheduler, "last_epoch", -1),
        "others": [
            {name: group[name][1:] if name == "betas" else group[name] for name in given if name != "lr"}
            for group, given in zip(own, groups, strict=True)
        ],
    }


def scheduled(
    recipe: tuple[Any, ...],
    twice: tuple[Any, ...],
    kind: tuple[str, dict[str, Any]],
    groups: list[dict[str, Any]],
    tensor: bool,
    resume: Callable[..., Any],
    resumed: int,
    before: int,
    begun: int,
    given: list[tuple[Any, ...]],
) -> dict[str, Any]:
    """``kind`` is a class of torch.optim with its flags."""

    def build(more: int = 0) -> Any:
        wanted = [*groups, *groups[-1:] * more]
        made = [{"params": [torch.nn.Parameter(torch.ones(1))], **group} for group in wanted]
        for group in made if tensor else ():
            group["lr"] = torch.tensor(group["lr"], dtype=torch.float64)
        return getattr(torch.optim, kind[0])(made, **kind[1])

    def begin(optimizer: Any, **more: Any) -> Any:
        return make(optimizer, *recipe, **more)

    others = [build() for _ in range(before)]
    for optimizer in others:
        begin(optimizer)
    firsts = list(map(rates_of, others))
    optimizer = build()
    scheduler = begin(optimizer, last_epoch=begun - 1)
    seen = [observe(optimizer, scheduler, groups)]
    states: list[Any] = []
    stays, returned, first = True, None, None
    for epoch, arguments in enumerate(given):
        if resumed and epoch == resumed:
            kept, optimizer = copy.deepcopy(optimizer.state_dict()), build()
            scheduler, states = resume(optimizer, scheduler, kept, begin, resumed - 1)
            first = states.pop() if states else None
            stays, returned = not states or alike(*states), rates_of(optimizer)
        optimizer.step()
        scheduler.step(*arguments)
        seen.append(observe(optimizer, scheduler, groups))
    for each in seen:
        each["told"] = [float(rate) for rate in each["told"]]
    tensors = [isinstance(group["lr"], torch.Tensor) for group in optimizer.param_groups]
    at_end = getattr(scheduler, "total_steps", None) == getattr(scheduler, "last_epoch", -1)
    ends = not at_end or raises(ValueError, scheduler.step)
    # The same once more, with a group beside that is as the last, and is added later where that needs no rate at first.
    least = getattr(scheduler, "default_min_lr", None)  # one for all groups, of a release that takes a later one
    late = least is not None or (twice[0] in ("StepLR", "MultiStepLR", "ExponentialLR") and not any(given))
    late = late and not (before or begun)
    optimizer = build(0 if late else 1)
    scheduler = make(optimizer, *twice[:3], *map(ending_twice, twice[3:]), last_epoch=begun - 1)
    if late:
        optimizer.add_param_group(build().param_groups[-1])
    beside, metric = [rates_of(optimizer)], torch.zeros((), dtype=torch.float64)
    for arguments in given:
        optimizer.step()
        if twice[0] == "ReduceLROnPlateau":  # whose metric may be the same tensor each time
            arguments = (metric.fill_(arguments[0]),)
        scheduler.step(*arguments)
        beside.append(rates_of(optimizer))
    return {
        "firsts": torch.cat(firsts) if firsts else None,
        "beside": torch.cat(beside),
        "ends": ends,
        **{
            name: torch.tensor([each[name] for each in seen], dtype=torch.float64)
            for name in ("rates", "momenta", "told")
        },
        **{name: [each[name] for each in seen] for name in ("epochs", "others", "forgotten")},
        "returned": returned,
        "begun": first,
        "stays": [stays, alike(*states)] if states else None,
        "tensors": tensors,
    }


# -- schedulers as trainings put them together ---------------------------------------------------------------------


class Power:
    """A function that can be saved: the powers of a number."""

    def __init__(self, base: float) -> None:
        self.base = base

    def __call__(self, number: float) -> float:
        return float(self.base**number)


def warmed_up(optimizer: Any) -> list[Any]:
    return [schedulers.LinearLR(optimizer, 0.25, total_iters=4), schedulers.CosineAnnealingLR(optimizer, 16)]


#: Makes schedulers of an optimizer, by the plan beside which they are; those that load a state are not ``first``.
COMBINED: dict[str, Callable[[Any, bool], list[Any]]] = named(
    {
        # A decay.
        "linear": lambda optimizer, first: [schedulers.LinearLR(optimizer, 1.0, 0.25, total_iters=4)],
        # A warm-up that ends early, and a cosine; both at once.
        "sequential": lambda optimizer, first: [schedulers.SequentialLR(optimizer, warmed_up(optimizer), [2])],
        "chained": lambda optimizer, first: [schedulers.ChainedScheduler(warmed_up(optimizer))],
        # A decay, and then the rate of what is averaged.
        "averaging": lambda optimizer, first: [
            schedulers.ExponentialLR(optimizer, 0.5),
            torch.optim.swa_utils.SWALR(optimizer, 0.5, 8, "linear" if first else "cos"),
        ],
        # One least rate of all groups.
        "plateau": lambda optimizer, first: [
            schedulers.ReduceLROnPlateau(optimizer, factor=0.5, patience=1, min_lr=0.25)
        ],
        # Cycles whose height is a function of their number.
        "cyclic": lambda optimizer, first: [
            schedulers.CyclicLR(optimizer, 0.5, 1.5, 1, 3, scale_fn=Power(0.5 if first else 0.25), cycle_momentum=False)
        ],
        # A function that is saved, and then restarts, each after twice as many epochs.
        "restarts_longer": lambda optimizer, first: [
            schedulers.SequentialLR(
                optimizer,
                [
                    schedulers.LambdaLR(optimizer, Power(0.5 if first else 0.25)),
                    schedulers.CosineAnnealingWarmRestarts(optimizer, 1, 2),
                ],
                [4],
            )
        ],
    },
    prefix="combined_",
)


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
        part.step(*(metric if isinstance(part, schedulers.ReduceLROnPlateau) else ()))
        rates.append(rates_of(optimizer))
    return {**scheduled(**options), "combined": torch.cat(rates), "left": rates_of(left)}
