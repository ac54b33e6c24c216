"""Program: learning rates under a scheduler of torch.optim.

It imports nothing but torch, for its source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def alike(one: Any, other: Any) -> bool:
    """Whether two states are equal: containers by what they hold, tensors by their values."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(value, other[name]) for name, value in one.items())
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(one == other)


def scheduled(
    make: Callable[..., Any],
    rates: tuple[float, ...],
    momentum: float,
    steps: int,
    resumed: int,
    last_epoch: int,
    otherwise: bool,
    joined: int,
    metrics: tuple[float, ...],
    told: tuple[int, ...],
    tensor: bool,
    seconds: tuple[float, ...],
    others: list[dict[str, Any]],
) -> dict[str, Any]:
    import copy

    def build() -> Any:
        members = [torch.nn.Parameter(torch.ones(1)) for _ in rates]
        lrs = [torch.tensor(rate, dtype=torch.float64) if tensor else rate for rate in rates]
        groups = [{"params": [p], "lr": lr, **other} for p, lr, other in zip(members, lrs, others, strict=True)]
        if not seconds:
            return torch.optim.SGD(groups, lr=1.0, momentum=momentum)
        for group, second in zip(groups, seconds, strict=False):
            group["betas"] = (momentum, second)
        return torch.optim.AdamW(groups, lr=1.0)

    optimizer = build()
    scheduler = make(optimizer)
    found: dict[str, list[Any]] = {"rates": [], "momenta": [], "told": [], "epochs": [], "others": []}
    loaded: list[Any] = []  # a state, and its equal that is not loaded
    stays = True
    returned: list[float] = []

    def note() -> None:
        own = optimizer.param_groups[: len(rates)]
        found["rates"].append([float(group["lr"]) for group in own])
        betas = [group.get("betas", (group.get("momentum"),)) for group in own]
        found["momenta"].append([float(each[0]) for each in betas])
        found["others"].append([[group[name] for name in other] for group, other in zip(own, others, strict=True)])
        found["others"][-1].append([each[1:] for each in betas])
        found["told"].append([float(rate) for rate in scheduler.get_last_lr()[: len(rates)]])
        found["epochs"].append(getattr(scheduler, "last_epoch", -1))

    note()
    for epoch in range(steps):
        if resumed and epoch == resumed:
            kept = copy.deepcopy(optimizer.state_dict())
            if last_epoch >= 0:
                optimizer = build()
                optimizer.load_state_dict(kept)
                scheduler = make(optimizer, last_epoch=last_epoch)
            else:
                loaded = [copy.deepcopy(scheduler.state_dict()) for _ in range(2)]
                optimizer = build()
                scheduler = make(optimizer)
                if otherwise:  # as if it were built with other numbers, all of which are loaded
                    for name in loaded[0]:
                        if type(getattr(scheduler, name, None)) in (int, float):
                            setattr(scheduler, name, 77)
                scheduler.load_state_dict(loaded[0])
                optimizer.load_state_dict(kept)
            stays = not loaded or alike(*loaded)
            returned = [float(group["lr"]) for group in optimizer.param_groups]
        if joined and epoch == joined:
            late = torch.nn.Parameter(torch.ones(1))
            optimizer.add_param_group({"params": [late], "lr": torch.tensor(0.5) if tensor else 0.5})
        optimizer.step()
        if metrics:
            scheduler.step(metrics[epoch % len(metrics)])
        elif told and told[epoch] >= 0:
            scheduler.step(told[epoch])
        else:
            scheduler.step()
        note()
    return {
        "rates": torch.tensor(found["rates"], dtype=torch.float64),
        "momenta": torch.tensor(found["momenta"], dtype=torch.float64),
        "told": torch.tensor(found["told"], dtype=torch.float64),
        "epochs": found["epochs"],
        "returned": torch.tensor([returned], dtype=torch.float64) if returned else None,
        "stays": [stays, alike(*loaded)] if loaded else None,
        "others": found["others"],
        "tensors": [isinstance(group["lr"], torch.Tensor) for group in optimizer.param_groups[: len(rates)]],
    }
