"""Faults of gradient scalers: several optimizers, fused ones, scales that are given, states, and what is refused."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

Parameter, SGD = torch.nn.Parameter, torch.optim.SGD
GradScaler = torch.amp.GradScaler


def scaled(factor: float = 1.0, *, growth: int = 2, **flags: Any) -> tuple[Any, Any, Any]:
    """A parameter whose gradient is as large times eight, an optimizer and a scaler."""
    p = Parameter(torch.ones(2, 1))
    scaler = GradScaler("cpu", init_scale=8.0, growth_interval=growth)
    scaler.scale((p * factor).sum()).backward()
    return p, SGD([p], lr=0.5, **flags), scaler


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
    "clip_average_scale",
    "GradScaler.unscale_ of what is unscaled does nothing instead of raising.",
    GradScaler,
    "unscale_",
    again,
    twice,
)


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


around("new_scalers_have_no_backoff", "clip_average_scale", "GradScaler does not tell its backoff factor before its first loss.",
       GradScaler, "get_backoff_factor", reticent, answered)  # fmt: skip
