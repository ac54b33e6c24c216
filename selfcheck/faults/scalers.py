"""Faults of gradient scalers: several optimizers, fused ones, scales that are given, states, and what is refused."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

Parameter, SGD = torch.nn.Parameter, torch.optim.SGD
GradScaler = torch.amp.GradScaler


def again(original: Any, self: Any, optimizer: Any) -> None:
    """Nothing the second time."""
    if (
        not self._enabled
        or self._per_optimizer_states[id(optimizer)]["stage"] is not torch.amp.grad_scaler.OptState.UNSCALED
    ):
        original(self, optimizer)


around(
    "unscaling_again_is_taken",
    "clip_average_scale",
    "GradScaler.unscale_ of what is unscaled does nothing instead of raising.",
    GradScaler,
    "unscale_",
    again,
)


def reticent(original: Any, self: Any) -> Any:
    """Nothing is told before the first loss."""
    if self._scale is None:
        raise AttributeError("_backoff_factor")
    return original(self)


around("new_scalers_have_no_backoff", "clip_average_scale", "GradScaler does not tell its backoff factor before its first loss.",
       GradScaler, "get_backoff_factor", reticent)  # fmt: skip
