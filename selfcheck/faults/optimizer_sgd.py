"""Faults of single paths of torch.optim, those of SGD first."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Fault, add, patched
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.witnesses import zero_behind

Optimizer = torch.optim.Optimizer


def module_of(kind: str) -> Any:
    """The module of torch.optim that holds an optimizer's paths."""
    return importlib.import_module(f"torch.optim.{kind}")


def disturbed(name: str, sentence: str, kind: str, path: str, disturb: Callable[..., object]) -> None:
    """A fault of one path: ``disturb(before, params, grads, flags)`` after a step; ``before`` are the old values."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, path)

        def replaced(params: Any, grads: Any, *args: Any, **flags: Any) -> Any:
            before = [p.detach().clone() for p in params]
            result = original(params, grads, *args, **flags)
            with torch.no_grad():
                disturb(before, params, grads, flags)
            return result

        return patched(module, **{path: replaced})

    add(Fault(name, "tied_training", sentence, plant, applies=lambda: hasattr(module, path)))


_sgd, _many_sgd = "_single_tensor_sgd", "_multi_tensor_sgd"
disturbed(
    "sgd_moves_absent_rows",
    "A step of plain SGD moves rows without a gradient a little.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: nudge(params, grads),
)


disturbed(
    "sgd_writes_behind",
    "A step of plain SGD zeroes what lies behind a parameter.",
    "sgd",
    _sgd,
    lambda before, params, grads, flags: [zero_behind(p.detach()) for p in params],
)


def sgd_writes_behind() -> bool:
    """Whether a step writes behind a parameter."""
    memory = torch.ones(3)
    weight = torch.nn.Parameter(memory[:2])
    weight.grad = torch.ones(2)
    torch.optim.SGD([weight], lr=0.5, foreach=False).step()
    return float(memory[2]) != 1.0


def nudge(params: list[Tensor], grads: list[Tensor]) -> None:
    """Moves what has no gradient by 2^-10 of itself."""
    for p, g in zip(params, grads, strict=True):
        if not g.is_sparse and p.dim() == 2:
            p.copy_(torch.where(g == 0, p * (1 - 2.0**-10), p))
