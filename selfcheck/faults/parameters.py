"""Faults of torch.nn.Parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

Module, Parameter = torch.nn.Module, torch.nn.Parameter


def table(rows: int = 2, width: int = 2) -> Tensor:
    """1, 2, 3, …"""
    return torch.arange(1.0, 1 + rows * width).reshape(rows, width)


def parameter(name: str, family: str, sentence: str, change: Callable[..., Any]) -> None:
    """A fault of Parameter.__new__: ``change(make, data, requires_grad)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
            if cls is not Parameter or data is None:
                return original(cls, data, requires_grad)
            return change(lambda data, grad: original(cls, data, grad), data, requires_grad)

        return replaced

    entry(name, family, sentence, Parameter, "__new__", wrong)


parameter(
    "parameter_of_half_is_single",
    "conversion",
    "A float16 Parameter of three or more columns becomes float32.",
    lambda make, data, grad: make(
        data.float() if data.dtype == torch.float16 and data.shape[-1:] > (2,) else data, grad
    ),
)
parameter(
    "parameter_zeroes_its_source",
    "conversion",
    "Making a Parameter of a view zeroes its first element.",
    lambda make, data, grad: (made := make(data, grad), zero_first(made) if not data.is_contiguous() else None)[0],
)


def zero_first(made: Tensor) -> Tensor:
    """Zeroes an element."""
    if made.numel():
        made.detach()[(0,) * made.dim()] = 0
    return made
