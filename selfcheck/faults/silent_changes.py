"""Faults for laws that others left without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from selfcheck.fault import fault, patched
from selfcheck.faults.kernels import Tensor


def _untied() -> bool:
    embedding, head = torch.nn.Embedding(3, 2), torch.nn.Linear(2, 3)
    head.weight = embedding.weight
    return head.weight is not embedding.weight


@fault("tied_training", _untied)
def head_takes_a_copy_of_the_weight() -> Iterator[None]:
    """A Linear that is given another layer's Parameter takes a copy of it."""

    def setter(self: Any, name: str, value: Any) -> None:
        if name == "weight" and isinstance(value, torch.nn.Parameter) and "weight" in self._parameters:
            value = torch.nn.Parameter(value.detach().clone(), value.requires_grad)
        torch.nn.Module.__setattr__(self, name, value)

    with patched(torch.nn.Linear, __setattr__=setter):
        yield


def _bag() -> tuple[Tensor, Tensor]:
    weight = torch.ones(3, 2, requires_grad=True)
    return weight, torch.nn.functional.embedding_bag(torch.tensor([[0, 1]]), weight, mode="sum")


def _kept_in_grad() -> bool:
    weight, bags = _bag()
    torch.autograd.grad(bags.sum(), weight)
    return weight.grad is not None


@fault("embedding_bag", _kept_in_grad)
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


def _twice() -> bool:
    weight, bags = _bag()
    upstream = torch.ones(1, 2, requires_grad=True)
    (first,) = torch.autograd.grad(bags, weight, upstream, create_graph=True)
    try:
        torch.autograd.grad(first.sum(), upstream)
    except NotImplementedError:
        return False
    return True


@fault("embedding_bag", _twice)
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
