"""Faults of hooks and of what autograd leaves behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch.nn.utils._expanded_weights.expanded_weights_impl import ExpandedWeight

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

entry(
    "leaf_hook_fires_twice",
    "gradient",
    "A hook on a leaf of two axes is registered twice.",
    torch.Tensor,
    "register_hook",
    lambda original: (
        lambda self, hook: (original(self, hook) if self.is_leaf and self.dim() == 2 else None, original(self, hook))[1]
    ),
)


def _grad(original: Callable[..., Any]) -> Callable[..., Any]:
    def grad(outputs: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        found = original(outputs, inputs, *rest, **more)
        if isinstance(inputs, Tensor) and inputs.is_leaf and inputs.dtype == torch.float32 and inputs.grad is None:
            inputs.grad = found[0].detach().clone()
        return found

    return grad


entry(
    "autograd_grad_accumulates",
    "gradient",
    "autograd.grad leaves its result in .grad as well.",
    torch.autograd,
    "grad",
    _grad,
)


def _grads_require_grad(original: Callable[..., Any]) -> Callable[..., Any]:
    def backward(self: Tensor, *rest: Any, **more: Any) -> None:
        leaves = list(leaves_of(self.grad_fn)) if self.dim() == 3 else []
        original(self, *rest, **more)
        for leaf in leaves:
            if leaf.grad is not None:
                leaf.grad.requires_grad_()

    return backward


def leaves_of(node: Any) -> Iterator[Any]:
    """The leaves that a graph leads to, but for ExpandedWeight's, which take no function that they don't know."""
    for following, _ in node.next_functions if node is not None else ():
        if hasattr(following, "variable") and not isinstance(following.variable, ExpandedWeight):
            yield following.variable
        yield from leaves_of(following)


entry(
    "grad_requires_grad_itself",
    "gradient",
    "The gradient of a rank 2 lookup requires grad itself.",
    torch.Tensor,
    "backward",
    _grads_require_grad,
)
