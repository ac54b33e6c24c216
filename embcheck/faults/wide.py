"""Faults that only values of a whole significand show, and those of a Parameter that is made of a Parameter."""

from __future__ import annotations

import torch

from embcheck.faults.kernels import Tensor

double, bfloat16 = torch.float64, torch.bfloat16
Parameter = torch.nn.Parameter
ONE = torch.ones(1, dtype=double)


def again(frozen: bool = False) -> tuple[Tensor, Tensor]:
    """A Parameter, and one that is made of it."""
    first = Parameter(torch.ones(2, 3), requires_grad=not frozen)
    return first, Parameter(first)


def stepped() -> float:
    """A bfloat16 weight after a step without a gradient."""
    weight = Parameter(torch.full((1,), 1.0078125, dtype=bfloat16))
    weight.grad = torch.zeros_like(weight)
    torch.optim.SGD([weight], lr=0.5).step()
    return float(weight)
