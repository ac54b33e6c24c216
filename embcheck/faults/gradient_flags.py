"""Faults of the dense backward kernel: scale_grad_by_freq and padding."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.faults.kernels import Call, Tensor, dense_gradient


def scaled(call: Call, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient divided by other counts."""
    counts = change(torch.bincount(call.tokens, minlength=call.rows))
    plain = dense_gradient(call._replace(scale=False))
    return plain / counts.clamp(min=1).to(plain.dtype)[:, None]
