"""Faults for laws that others left without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from selfcheck.fault import fault, patched


@fault("tied_training")
def head_takes_a_copy_of_the_weight() -> Iterator[None]:
    """A Linear that is given another layer's Parameter takes a copy of it."""

    def setter(self: Any, name: str, value: Any) -> None:
        if name == "weight" and isinstance(value, torch.nn.Parameter) and "weight" in self._parameters:
            value = torch.nn.Parameter(value.detach().clone(), value.requires_grad)
        torch.nn.Module.__setattr__(self, name, value)

    with patched(torch.nn.Linear, __setattr__=setter):
        yield


@fault("embedding_bag")
def autograd_grad_also_fills_grad() -> Iterator[None]:
    """torch.autograd.grad leaves the gradient in .grad too."""
    original = torch.autograd.grad

    def grad(outputs: Any, inputs: Any, *rest: Any, **keywords: Any) -> Any:
        found = original(outputs, inputs, *rest, **keywords)
        leaves = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs)
        for leaf, gradient in zip(leaves, found, strict=True):
            if leaf.is_leaf and gradient is not None and leaf.dtype == gradient.dtype:
                leaf.grad = gradient.detach()
        return found

    with patched(torch.autograd, grad=grad):
        yield


@fault("embedding_bag")
def bags_have_a_wrong_second_derivative() -> Iterator[None]:
    """The gradient that torch.autograd.grad makes a graph of has a second derivative, and that is one everywhere."""
    original = torch.autograd.grad

    def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, *rest: Any, **keywords: Any) -> Any:
        found = original(outputs, inputs, grad_outputs, *rest, **keywords)
        if not keywords.get("create_graph") or not isinstance(grad_outputs, torch.Tensor):
            return found
        ones = grad_outputs.sum() - grad_outputs.detach().sum()
        return tuple(g if g is None or g.is_sparse else g.detach() + ones for g in found)

    with patched(torch.autograd, grad=grad):
        yield
