"""Witnesses that compare what a plain torch call gives with what it gave without a fault."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.kernels import Tensor


def described(found: Any) -> object:
    """A value that can be compared: a tensor's metadata and elements, the kind of an error, anything else itself."""
    if isinstance(found, Tensor):
        dense = found.detach().to_dense()
        elements = str(dense.tolist()) if dense.device.type == "cpu" else ""
        return found.dtype, tuple(found.shape), found.layout, found.requires_grad, str(found.device), elements
    if isinstance(found, (list, tuple)):
        return tuple(described(part) for part in found)
    return found


def differs(probe: Callable[[], Any]) -> Witness:
    """Whether ``probe()`` gives, or raises, anything else than at registration."""

    def seen() -> object:
        try:
            return described(probe())
        except Exception as error:
            return type(error)

    right = seen()
    return lambda: seen() != right


def rows(number: int = 4, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table that learns, of distinct small numbers (the rows differ beyond 2,000 elements, too)."""
    numbers = torch.arange(number * width, dtype=torch.float64) % 2039
    return (1 + numbers).reshape(number, width).to(dtype).requires_grad_()


def passes(out: Tensor, *leaves: Tensor, upstream: Tensor | None = None) -> list[Tensor | None]:
    """An output and the gradients of the leaves."""
    sent = torch.arange(1.0, out.numel() + 1).reshape(out.shape).to(out.dtype) if upstream is None else upstream
    return [out, *torch.autograd.grad(out, leaves, sent, allow_unused=True)]
