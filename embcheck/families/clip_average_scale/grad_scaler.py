"""Programs: losses are scaled, lest small gradients vanish in half precision.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor


def scaled(
    kind: str,
    flags: dict[str, Any],
    growth: int,
    initial: float,
    bad: tuple[int, ...],
    exceed: Callable[[Tensor], Tensor],
    given: dict[int, float],
    tensor_hyperparameters: bool,
    unscaled_first: bool,
    steps: int,
    sparse: bool,
    beside: str,
    enabled: bool,
    filled: bool,
    carried: str,
    carry: Callable[..., Any],
    accepted: Callable[..., bool],
    misused: Callable[..., list[str]],
    told: Callable[..., list[str]],
) -> dict[str, Any]:
    weight, other = torch.nn.Parameter(torch.full((2, 1), 8.0)), torch.nn.Parameter(torch.full((2, 1), 8.0))
    rows = torch.tensor([0, 1, 0])
    shares = torch.tensor([[0.25], [1.0], [0.75]])  # a row that comes twice has a gradient of one in all
    parts: Any = {
        "": [[weight]],
        "before": [[other, weight]],
        "after": [[weight, other]],
        "ahead": [[other], [weight]],
        "behind": [[weight], [other]],
    }
    optimizers = [
        getattr(torch.optim, kind)([{"params": [member]} for member in part], **flags) for part in parts[beside]
    ]
    how: dict[str, Any] = {"growth_factor": 4.0, "backoff_factor": 0.5, "growth_interval": growth, "enabled": enabled}
    scaler = torch.amp.GradScaler("cpu", init_scale=initial, **how)
    weights, others, scales, losses, taken = [], [], [], [], []
    unscaled = True
    for step in range(steps):
        if carried and step % 2 == 0:
            scaler = carry(scaler, carried)
        for optimizer in optimizers:
            optimizer.zero_grad()
        found = torch.nn.functional.embedding(rows, weight, sparse=sparse)
        loss = (exceed(found) if step in bad else found * shares if sparse else weight).sum()
        larger = scaler.scale(loss)
        losses.append(float(larger) / float(loss) if step not in bad else scaler.get_scale())
        if beside:  # whose gradient is finite in every step
            larger = larger + scaler.scale([other.sum()])[0]
        larger.backward()
        for optimizer in optimizers if unscaled_first else ():
            scaler.unscale_(optimizer)
            if enabled and accepted(scaler.unscale_, optimizer):
                taken.append("unscale_ after unscale_")
        if unscaled_first:
            ones = [p.grad.to_dense() for p in (weight, other) if p.grad is not None]
            unscaled = unscaled and all(bool((grad == 1).all()) for grad in ones[step in bad :])
        for optimizer in optimizers:
            settings = torch.are_deterministic_algorithms_enabled()
            try:
                torch.use_deterministic_algorithms(settings or filled)  # which fills what is left empty with NaN
                scaler.step(optimizer)
            finally:
                torch.use_deterministic_algorithms(settings)
            if enabled and accepted(scaler.unscale_, optimizer):
                taken.append("unscale_ after step")
            if enabled and accepted(scaler.step, optimizer):
                taken.append("step after step")
        if step in given:
            scale = torch.tensor(given[step]) if tensor_hyperparameters else given[step]
            scaler.update(scale)
            if isinstance(scale, Tensor):
                scale.zero_()
        else:
            scaler.update()
        weights.append(weight.detach().reshape(2).clone())
        others.append(other.detach().reshape(2).clone())
        scales.append(scaler.get_scale())
    return {
        "weights": torch.stack(weights),
        "others": torch.stack(others),
        "scales": scales,
        "losses": losses,
        "unscaled": unscaled,
        "factors": [scaler.get_growth_factor(), scaler.get_backoff_factor(), scaler.get_growth_interval()]
        if enabled
        else [],
        "untold": told(torch.amp.GradScaler("cpu", **how)) + told(scaler),
        "state": scaler.state_dict(),
        "taken": taken + (misused(scaler, accepted) if enabled else []),
    }


EXCESSES: dict[str, Callable[[Tensor], Tensor]] = {}


@into(EXCESSES)
def all_(found: Tensor) -> Tensor:
    return found * float("inf")


@into(EXCESSES)
def negative(found: Tensor) -> Tensor:
    return found * float("-inf")


@into(EXCESSES)
def undefined(found: Tensor) -> Tensor:
    return found * float("nan")


@into(EXCESSES)
def one(found: Tensor) -> Tensor:
    return found * torch.tensor([[1.0], [float("inf")], [1.0]])


@into(EXCESSES)
def sum_(found: Tensor) -> Tensor:
    # The first row comes twice, and twice half of what float32 does not reach.
    return found * 2.0**127


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


def misused(scaler: Any, accepted: Callable[..., bool]) -> list[str]:
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
