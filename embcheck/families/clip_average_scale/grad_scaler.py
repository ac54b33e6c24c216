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
    "after": (("weight", "other"),),
    "ahead": (("other",), ("weight",)),
    "behind": (("weight",), ("other",)),
}


def scaled(
    optimizer: tuple[str, dict[str, Any]],
    how: dict[str, Any],
    parts: tuple[tuple[str, ...], ...],
    steps: tuple[tuple[bool, float | None], ...],
    exceed: Callable[[Tensor], Tensor],
    boxed: bool,
    unscaled_first: bool,
    sparse: bool,
    filled: bool,
    carried: str,
) -> dict[str, Any]:
    """``steps`` are whether gradients are infinite, and the scale that is given afterwards; ``how`` makes the scaler."""
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
    for step, (bad, given) in enumerate(steps):
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
            if how["enabled"] and accepted(scaler.unscale_, each):
                taken.append("unscale_ after unscale_")
        if unscaled_first:
            ones = [p.grad.to_dense() for p in (weight, other) if p.grad is not None]
            unscaled = unscaled and all(bool((grad == 1).all()) for grad in ones[bad:])
        for each in optimizers:
            stepped(scaler, each, filled)
            if how["enabled"]:
                taken += [
                    f"{call.__name__} after step" for call in (scaler.unscale_, scaler.step) if accepted(call, each)
                ]
        update(scaler, given, boxed)
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
        "factors": [getattr(scaler, f"get_{name}")() for name in names] if how["enabled"] else [],
        "untold": told(torch.amp.GradScaler("cpu", **how)) + told(scaler),
        "state": scaler.state_dict(),
        "taken": taken + (misused(scaler) if how["enabled"] else []),
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


def update(scaler: Any, given: float | None, boxed: bool) -> None:
    """Adapts the scale, or sets it to what is given; a tensor that is written later is not kept."""
    if given is None:
        scaler.update()
        return
    scale = torch.tensor(given) if boxed else given
    scaler.update(scale)
    if isinstance(scale, Tensor):
        scale.zero_()


#: By what the rows of a table, the first of which comes twice, get infinite gradients.
EXCESSES: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "all": lambda found: found * float("inf"),
        "negative": lambda found: found * float("-inf"),
        "undefined": lambda found: found * float("nan"),
        "one": lambda found: found * torch.tensor([[1.0], [float("inf")], [1.0]]),
        # Twice half of what float32 does not reach.
        "sum": lambda found: found * 2.0**127,
    },
    prefix="exceed_",
)


def accepted(call: Callable[..., Any], *given: Any, **flags: Any) -> bool:
    """Whether nothing is raised."""
    try:
        call(*given, **flags)
    except (RuntimeError, ValueError):
        return False
    return True


def told(scaler: Any) -> list[str]:
    """What a scaler does not tell of itself, or not take."""
    missing = []
    for name in ("growth_factor", "backoff_factor", "growth_interval"):
        try:
            getattr(scaler, f"set_{name}")(getattr(scaler, f"get_{name}")())
        except AttributeError:
            missing.append(name)
    return missing


def misused(scaler: Any) -> list[str]:
    """What a scaler takes that it is documented to refuse."""
    p = torch.nn.Parameter(torch.ones(2, 1, dtype=torch.float16))
    p.grad = torch.full_like(p, 8.0)
    optimizer = torch.optim.SGD([p], lr=0.5)
    scaler.scale(torch.ones(()))
    single = torch.nn.Parameter(torch.ones(2, 1))
    single.grad = torch.zeros_like(single)  # for all that a step could refuse is the closure
    stepped = torch.optim.SGD([single], lr=0.5)
    tries = {
        "a step with a closure": accepted(scaler.step, stepped, closure=lambda: 0.0),
        "gradients in half precision": accepted(scaler.unscale_, optimizer),
        "a step with gradients in half precision": accepted(scaler.step, optimizer),
        "the state of one that is not enabled": accepted(scaler.load_state_dict, {}),
    }
    taken = [name for name, tried in tries.items() if tried]
    return taken + (["a gradient that it refuses"] if p.grad.ne(8).any() or p.detach().ne(1).any() else [])


def carry(scaler: Any, carried: str) -> Any:
    """A scaler that goes on where this one is."""
    import pickle

    if carried == "copied":
        return pickle.loads(pickle.dumps(scaler))
    how: dict[str, Any] = {"growth_factor": 3.0, "backoff_factor": 0.25, "growth_interval": 7}
    fresh = torch.amp.GradScaler("cpu", init_scale=2.0, **how, enabled=scaler.is_enabled())
    if carried == "warm":  # it has scaled a loss before
        fresh.scale(torch.ones(()))
    fresh.load_state_dict(scaler.state_dict())
    return fresh
