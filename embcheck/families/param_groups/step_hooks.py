"""Programs: hooks of an optimizer's step, also of an optimizer that a user derives.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch


def hooked(optimizer: Any, order: list[str]) -> list[Any]:
    """Registers hooks of a step, of this optimizer and of all, that note in which order they are called; their handles."""

    def note(name: str) -> Callable[..., Any]:
        return lambda stepped, args, kwargs: order.append(name) if stepped is optimizer else None

    import torch.optim.optimizer as of_all  # which torch.optim does not show as its attribute

    return [
        optimizer.register_step_post_hook(note("after")),
        of_all.register_optimizer_step_post_hook(note("after all")),
        optimizer.register_step_pre_hook(note("before")),
        of_all.register_optimizer_step_pre_hook(note("before all")),
    ]


def hooks_of_a_derived_optimizer() -> list[str]:
    """In which order they are called of an optimizer that is derived from torch.optim.Optimizer; "step" is its own step, and
    "closure" an argument that a hook before the step adds, as a hook after the step is told."""
    order: list[str] = []

    class Descent(torch.optim.Optimizer):
        def step(self, closure: Any = None) -> Any:
            order.append("step")

    optimizer = Descent([torch.nn.Parameter(torch.ones(1))], {})
    handles = hooked(optimizer, order)
    handles.append(optimizer.register_step_pre_hook(lambda stepped, args, kwargs: (args, {"closure": None})))
    handles.append(optimizer.register_step_post_hook(lambda stepped, args, kwargs: order.extend(kwargs)))
    optimizer.step()
    for handle in handles:
        handle.remove()
    return order
