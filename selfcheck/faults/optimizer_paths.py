"""Faults of the paths of torch.optim: a flag, a history or a memory layout each, mostly of two or three at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Fault, add, patched
from selfcheck.faults.optimizer_sgd import module_of

_adam, _many_adam = "_single_tensor_adam", "_multi_tensor_adam"


# -- what a path does to its parameters, states and gradients ------------------------------------------------------


def path(name: str, sentence: str, kind: str, function: str, change: Callable[..., Any],
         family: str = "param_groups") -> None:  # fmt: skip
    """A fault of one path: ``change(original, params, grads, *states, **flags)``."""
    module = module_of(kind)

    def plant() -> Any:
        original = getattr(module, function)
        return patched(module, **{function: lambda *given, **flags: change(original, *given, **flags)})

    add(Fault(name, family, sentence, plant, applies=lambda: hasattr(module, function)))


def third_step(original: Callable[..., Any], params: Any, grads: Any, buffers: Any, *rest: Any, **flags: Any) -> Any:
    """A path that leaves out its steps once a buffer is there and is negative on average."""
    kept = [p.detach().clone() for p in params]
    late = [buffer is not None and float(buffer.float().mean()) < 0 for buffer in buffers]
    result = original(params, grads, buffers, *rest, **flags)
    with torch.no_grad():
        for p, old, skip in zip(params, kept, late, strict=True):
            if skip:
                p.copy_(old)
    return result


path("sgd_skips_negative_momentum", "Plain SGD rests where its momentum is negative on average.", "sgd", "_single_tensor_sgd",
     third_step)  # fmt: skip
