"""Faults of gradient scalers: several optimizers, fused ones, scales that are given, states, and what is refused."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around

Parameter, SGD = torch.nn.Parameter, torch.optim.SGD
GradScaler = torch.amp.GradScaler


def infinite(self: Any, but: Any = None) -> bool:
    """Whether gradients of an optimizer, but for one, were found to be infinite."""
    if not self._enabled:
        return False
    states = [state for key, state in self._per_optimizer_states.items() if but is None or key != id(but)]
    return any(bool(found) for state in states for found in state["found_inf_per_device"].values())


def scaled(factor: float = 1.0, *, growth: int = 2, **flags: Any) -> tuple[Any, Any, Any]:
    """A parameter whose gradient is as large times eight, an optimizer and a scaler."""
    p = Parameter(torch.ones(2, 1))
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=growth)
    scaler.scale((p * factor).sum()).backward()
    return p, SGD([p], lr=0.5, **flags), scaler


def together(original: Any, self: Any, optimizer: Any, *given: Any, **flags: Any) -> Any:
    """No step after another's infinity."""
    if infinite(self, optimizer):
        flags_of = self._per_optimizer_states[id(optimizer)]
        if not flags_of["found_inf_per_device"]:
            self.unscale_(optimizer)
        flags_of["stage"] = torch.amp.grad_scaler.OptState.STEPPED
        return None
    return original(self, optimizer, *given, **flags)


def beside() -> float:
    """A finite parameter after a step behind one that was infinite."""
    p, first, scaler = scaled(float("inf"))
    q = Parameter(torch.ones(1))
    second = SGD([q], lr=0.5)
    q.grad = torch.full((1,), 8.0)
    scaler.step(first)
    scaler.step(second)
    return float(q) + 0 * float(p.detach()[0, 0])


def again(original: Any, self: Any, optimizer: Any) -> None:
    """Nothing the second time."""
    if (
        not self._enabled
        or self._per_optimizer_states[id(optimizer)]["stage"] is not torch.amp.grad_scaler.OptState.UNSCALED
    ):
        original(self, optimizer)


def twice() -> bool:
    """Whether gradients are unscaled twice."""
    _, optimizer, scaler = scaled()
    scaler.unscale_(optimizer)
    try:
        scaler.unscale_(optimizer)
    except RuntimeError:
        return False
    return True


around(
    "unscaling_again_is_taken",
    "aftercare",
    "GradScaler.unscale_ of what is unscaled does nothing instead of raising.",
    GradScaler,
    "unscale_",
    again,
    twice,
)


def alone() -> float:
    """The scale after the tensor that was given for it is zeroed."""
    _, optimizer, scaler = scaled()
    scaler.step(optimizer)
    scale = torch.tensor(32.0)
    scaler.update(scale)
    scale.zero_()
    return float(scaler.get_scale())


def half() -> bool:
    """Whether gradients in half precision are unscaled."""
    p = Parameter(torch.ones(1, dtype=torch.float16))
    p.grad = torch.ones_like(p)
    scaler = GradScaler("cpu")
    scaler.scale(torch.ones(()))
    try:
        scaler.unscale_(SGD([p]))
    except ValueError:
        return False
    return True


def anew(original: Any, self: Any, state: Any) -> None:
    """The state, but for how many steps were good."""
    original(self, {**state, "_growth_tracker": 0} if state else state)


def grown() -> float:
    """The scale after two good steps, loaded in between."""
    _, optimizer, scaler = scaled()
    scaler.step(optimizer)
    scaler.update()
    _, other, fresh = scaled()
    fresh.load_state_dict(scaler.state_dict())
    fresh.step(other)
    fresh.update()
    return float(fresh.get_scale())


def reticent(original: Any, self: Any) -> Any:
    """Nothing is told before the first loss."""
    if self._scale is None:
        raise AttributeError("_backoff_factor")
    return original(self)


def answered() -> Any:
    """What a new scaler tells."""
    try:
        return GradScaler("cpu").get_backoff_factor()
    except AttributeError:
        return None


around("new_scalers_have_no_backoff", "aftercare", "GradScaler does not tell its backoff factor before its first loss.",
       GradScaler, "get_backoff_factor", reticent, answered)  # fmt: skip


def closed(original: Any, self: Any, optimizer: Any, *given: Any, closure: Any = None, **flags: Any) -> Any:
    """A step before which a closure is called, if there is one."""
    if closure is not None:
        closure()
    return original(self, optimizer, *given, **flags)


def checked(change: Any) -> Any:
    """A kernel that looks for infinities among what a change leaves of the gradients."""

    def wrong(original: Any, grads: Any, found: Any, inverse: Any) -> Any:
        original([change(g, inverse) for g in grads], found, inverse)
        return original(grads, torch.zeros_like(found), inverse)

    return wrong
