"""Faults of first steps beside later ones, of hooks common to all optimizers or put first, and of lone parameters."""

from __future__ import annotations

import importlib
from typing import Any

import torch

Parameter, Optimizer = torch.nn.Parameter, torch.optim.Optimizer
shared: Any = importlib.import_module("torch.optim.optimizer")


def late() -> float:
    """A parameter after its first step, which is another's second."""
    first, second = Parameter(torch.ones(2)), Parameter(torch.ones(2))
    optimizer = torch.optim.SGD([first, second], 1.0, momentum=0.5, dampening=0.5, foreach=True)
    first.grad = torch.ones(2)
    optimizer.step()
    second.grad = torch.ones(2)
    optimizer.step()
    return float(second.detach()[0])


def called() -> int:
    """How often a common hook is called after a step of SparseAdam."""
    calls: list[int] = []
    weight = Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1).to_sparse(1)
    hook = shared.register_optimizer_step_post_hook(lambda *given: calls.append(1))
    try:
        torch.optim.SparseAdam([weight]).step()
    finally:
        hook.remove()
    return len(calls)


def largest() -> float:
    """A maximum after a large gradient, a small one and none."""
    p = Parameter(torch.ones(1))
    optimizer = torch.optim.AdamW([p], betas=(0.5, 0.5), amsgrad=True)
    for size in (4.0, 0.0, None):
        p.grad = None if size is None else torch.full((1,), size)
        optimizer.step()
    return float(optimizer.state[p]["max_exp_avg_sq"])


def ordered(attribute: str) -> list[int]:
    """In which order two hooks are called of which the second was put first."""
    calls: list[int] = []
    optimizer = torch.optim.SGD([Parameter(torch.ones(1))])
    for word in (0, 1):
        getattr(optimizer, attribute)(lambda *given, word=word: calls.append(word), prepend=word == 1)
    optimizer.load_state_dict(optimizer.state_dict())
    return calls


def listed(original: Any, self: Any, params: Any, defaults: Any) -> None:
    """A matrix is taken for a list of itself."""
    original(self, [params] if isinstance(params, torch.Tensor) and params.dim() == 2 else params, defaults)


def lone() -> bool:
    """Whether a matrix is taken for an iterable."""
    try:
        torch.optim.SGD(Parameter(torch.ones(2, 2)))
    except TypeError:
        return False
    return True
