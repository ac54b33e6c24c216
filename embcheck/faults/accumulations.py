"""Faults of gradients that are zeroed, accumulated or scaled, and of a schedule between epochs."""

from __future__ import annotations

from typing import Any

import torch

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter


def zeroed() -> Any:
    """A gradient of create_graph that an optimizer has zeroed."""
    weight = Parameter(torch.ones(1))
    (weight**2).sum().backward(create_graph=True)
    optim.SGD([weight], lr=0.5).zero_grad(set_to_none=False)
    return weight.grad


def accumulated() -> Any:
    """A gradient of two passes that a hook doubles."""
    weight = torch.ones(2, requires_grad=True)
    weight.register_hook(lambda gradient: gradient * 2)
    for _ in range(2):
        weight.sum().backward()
    return weight.grad
