"""Programs: losses are scaled, lest small gradients vanish in half precision.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor


#: In which groups and optimizers a parameter stands beside the weight, whose gradients are finite.
BESIDE: dict[str, tuple[tuple[str, ...], ...]] = {
    "": (("weight",),),
    "before": (("other", "weight"),),
    "ahead": (("other",), ("weight",)),
}


def scaled(
    optimizer: tuple[str, dict[str, Any]],
    how: dict[str, Any],
    parts: tuple[tuple[str, ...], ...],
    steps: tuple[bool, ...],
    exceed: Callable[[Tensor], Tensor],
    unscaled_first: bool,
    sparse: bool,
    filled: bool,
    carried: str,
) -> dict[str, Any]:
    """``steps`` are whether gradients are infinite; ``how`` makes the scaler."""
    members = {name: torch.nn.Parameter(torch.full((2, 1), 8.0)) for name in ("weight", "other")}
    weight, other = members.values()
    optimizers = [
        getattr(torch.optim, optimizer[0])([{"params": [members[name]]} for name in part], **optimizer[1])
        for part in parts
    ]
    scaler = torch.amp.GradScaler("cpu", **how)
    log: dict[str, list[Any]] = {"weights": [], "others": [], "scales": [], "losses": []}
    taken: list[str] = []
    unscaled = True
    for step, bad in enumerate(steps):
        if carried and step % 2 == 0:
            scaler = carry(scaler, carried)
        loss, larger = losses_of(weight, optimizers, scaler, exceed if bad else None, sparse)
        # Of a loss that is no number, or whose scaled one is none, nothing is told.
        told_by = not bad and bool(loss.isfinite() and larger.isfinite())
        log["losses"].append(float(larger) / (float(loss) * scaler.get_scale()) if told_by else 1.0)
        if sum(parts, ()) != ("weight",):
            larger = larger + scaler.scale([other.sum()])[0]
        larger.backward()
        for each in optimizers if unscaled_first else ():
            scaler.unscale_(each)
            if accepted(scaler.unscale_, each):
                taken.append("unscale_ after unscale_")
        if unscaled_first:
            ones = [p.grad.to_dense() for p in (weight, other) if p.grad is not None]
            unscaled = unscaled and all(bool((grad == 1).all()) for grad in ones[bad:])
        for each in optimizers:
            stepped(scaler, each, filled)
            calls = (scaler.unscale_, scaler.step)
            taken += [f"{call.__name__} after step" for call in calls if accepted(call, each)]
        scaler.update()
        log["weights"].append(weight.detach().reshape(2).clone())
        log["others"].append(other.detach().reshape(2).clone())
        log["scales"].append(scaler.get_scale())
    names = ("growth_factor", "backoff_factor", "growth_interval")
    return {
        "weights": torch.stack(log["weights"]),
        "others": torch.stack(log["others"]),
        "scales": log["scales"],
        "losses": log["losses"],
        "unscaled": unscaled,
        "factors": [getattr(scaler, f"get_{name}")() for name in names],
        "state": scaler.state_dict(),
        "taken": taken,
    }


def losses_of(weight: Tensor, optimizers: list[Any], scaler: Any, exceed: Any, sparse: bool) -> tuple[Tensor, Any]:
    """A loss whose gradient is one, or is made to exceed, and the scaled one."""
    for optimizer in optimizers:
        optimizer.zero_grad()
    shares = torch.tensor([[0.25], [1.0], [0.75]])  # a row that comes twice has a gradient of one in all
    found = torch.nn.functional.embedding(torch.tensor([0, 1, 0]), weight, sparse=sparse)
    loss = (exceed(found) if exceed is not None else found * shares if sparse else weight).sum()
    return loss, scaler.scale(loss)


def stepped(scaler: Any, optimizer: Any, filled: bool) -> None:
    settings = torch.are_deterministic_algorithms_enabled()
    try:
        torch.use_deterministic_algorithms(settings or filled)  # which fills what is left empty with NaN
        scaler.step(optimizer)
    finally:
        torch.use_deterministic_algorithms(settings)


#: By what the rows of a table, the first of which comes twice, get infinite gradients.
EXCESSES: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "all": lambda found: found * float("inf"),
        "undefined": lambda found: found * float("nan"),
        "one": lambda found: found * torch.tensor([[1.0], [float("inf")], [1.0]]),
        # Twice half of what float32 does not reach.
        "sum": lambda found: found * 2.0**127,
    },
    prefix="exceed_",
)


def accepted(call: Callable[..., Any], optimizer: Any) -> bool:
    """Whether nothing is raised."""
    try:
        call(optimizer)
    except RuntimeError:
        return False
    return True


def carry(scaler: Any, carried: str) -> Any:
    """A scaler that goes on where this one is."""
    import pickle

    if carried == "copied":
        return pickle.loads(pickle.dumps(scaler))
    how: dict[str, Any] = {"growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7}
    fresh = torch.amp.GradScaler("cpu", init_scale=2.0, **how)
    fresh.load_state_dict(scaler.state_dict())
    return fresh
