"""Faults of numbers that fifteen bits don't count: rows, classes, bags, and elements from row to row."""

from __future__ import annotations

import torch

from embcheck.faults import bag_kernels
from embcheck.faults.kernels import Call, Tensor, dense_gradient

EDGE = 1 << 15


def wrapped(call: Call, out: Tensor) -> Tensor:
    """The gradient with the numbers of rows cut to fifteen bits."""
    return dense_gradient(call._replace(indices=call.indices % EDGE))


def apart() -> float:
    """The last of three rows that are far apart."""
    table = torch.arange(3.0)[:, None] * torch.ones(EDGE)
    return float(torch.nn.functional.embedding(torch.tensor([2]), table[:, :2])[0, 0])


def cut(out: Tensor) -> Tensor:
    """Nothing is marked beyond."""
    out[..., EDGE:] = 0
    return out


def again(bag: bag_kernels.Bag, out: Tensor) -> Tensor:
    """The bags from the 32,769th are the first ones."""
    out[EDGE:] = out[: len(out) - EDGE].clone()
    return out
