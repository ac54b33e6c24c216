"""Faults of an optimizer's steps that a history shows, or a conjunction of flags."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.around import around

optim = torch.optim
Parameter = torch.nn.Parameter


def kernel(kind: str, name: str, sentence: str, attribute: str, wrong: Callable[..., Any], probe: Any) -> None:
    """A fault of one of an optimizer's three ways: ``wrong(original, params, grads, *states, **flags)``."""
    module = importlib.import_module(f"torch.optim.{kind}")
    if hasattr(module, attribute):
        around(name, "tying", sentence, module, attribute, wrong, probe)


def steps(kind: str, *gradients: float | None, rows: int = 2, **flags: Any) -> Callable[[], Any]:
    """A probe: a Parameter after a step for each gradient, with what is kept for it."""

    def probe() -> Any:
        weight = Parameter(torch.ones(rows, 1))
        optimizer = getattr(optim, kind)([weight], **flags)
        for gradient in gradients:
            weight.grad = None if gradient is None else torch.full((rows, 1), gradient)
            optimizer.step()
        return weight, weight.grad, dict(optimizer.state[weight])

    return probe


def late(kind: str, **flags: Any) -> Callable[[], Any]:
    """A probe: two Parameters of which the second has its first gradient at the second step."""

    def probe() -> Any:
        weights = [Parameter(torch.ones(2)) for _ in range(2)]
        optimizer = getattr(optim, kind)(weights, **flags)
        for step in range(3):
            for weight in weights[: 1 + step]:
                weight.grad = torch.full((2,), 1.0 + step)
            optimizer.step()
        return weights

    return probe
