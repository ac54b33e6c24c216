"""Tables and passes for the probes of witnesses."""

from __future__ import annotations

import torch

from selfcheck.faults.kernels import Tensor


def rows(number: int = 4, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table that learns, of distinct small numbers (the rows differ beyond 2,000 elements, too)."""
    numbers = torch.arange(number * width, dtype=torch.float64) % 2039
    return (1 + numbers).reshape(number, width).to(dtype).requires_grad_()


def passes(out: Tensor, *leaves: Tensor, upstream: Tensor | None = None) -> list[Tensor | None]:
    """An output and the gradients of the leaves."""
    sent = torch.arange(1.0, out.numel() + 1).reshape(out.shape).to(out.dtype) if upstream is None else upstream
    return [out, *torch.autograd.grad(out, leaves, sent, allow_unused=True)]
