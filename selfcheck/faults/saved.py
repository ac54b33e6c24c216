"""Faults of what autograd saves: checkpoints, saved tensors, versions, frozen tables, gradients that are zeroed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.entry import Wrong, entry
from selfcheck.faults.gradient_routes import leaf, lookup

half, double = torch.float16, torch.float64
checkpoints = torch.utils.checkpoint


def _checkpointed(change: Callable[[Any, bool], Any]) -> Callable[[Wrong], Wrong]:
    def wrong(original: Wrong) -> Wrong:
        def checkpoint(function: Any, *given: Any, use_reentrant: Any = None, **flags: Any) -> Any:
            return change(original(function, *given, use_reentrant=use_reentrant, **flags), use_reentrant)

        return checkpoint

    return wrong


def checkpointed(reentrant: bool, depth: int = 1) -> float:
    """The gradient of row 0 through a checkpoint."""
    weight, dummy = leaf(), torch.zeros((), requires_grad=True)
    call: Any = lambda tokens, _: lookup(weight, tokens)  # noqa: E731
    for _ in range(depth):
        inner = call
        call = lambda tokens, d, inner=inner: checkpoints.checkpoint(inner, tokens, d, use_reentrant=reentrant)  # noqa: E731
    call(torch.tensor([0]), dummy).sum().backward()
    return 0.0 if weight.grad is None else float(weight.grad[0, 0])


entry(
    "reentrant_checkpoint_doubles",
    "gradient_routes",
    "A reentrant checkpoint doubles what passes through it.",
    checkpoints,
    "checkpoint",
    _checkpointed(lambda out, reentrant: out * 2 if reentrant else out),
    lambda: checkpointed(True) != 1.0,
)
