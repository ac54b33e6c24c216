"""Faults of what may happen to a module that show only after several operations: each needs what those before it left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.module_conversions import module_method

Spoiled = Callable[..., Any]


def keeps_frozen_gradient(weight: Any) -> bool:
    """Whether a weight was frozen after it got a gradient."""
    return weight is not None and weight.grad is not None and not weight.requires_grad


# -- flags and gradients -------------------------------------------------------------------------------------------


def zeroed_but_accumulated(original: Spoiled, self: Any, set_to_none: bool = True) -> None:
    """zero_grad(set_to_none=False) that keeps what a frozen weight accumulated in several passes."""
    kept = [p for p in self.parameters() if keeps_frozen_gradient(p) and (p.grad.abs() >= 4).any()]
    kept_grads = [p.grad.clone() for p in kept]
    original(self, set_to_none)
    if not set_to_none:
        for p, grad in zip(kept, kept_grads, strict=True):
            p.grad = grad


module_method(
    "zero_grad_keeps_what_was_accumulated_and_frozen",
    "zero_grad(set_to_none=False) keeps a frozen weight's gradient of several passes.",
    "zero_grad",
    zeroed_but_accumulated,
)
