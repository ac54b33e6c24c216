"""Faults of what autograd saves: checkpoints, saved tensors, versions, frozen tables, gradients that are zeroed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.entry import Wrong, entry

half, double = torch.float16, torch.float64
checkpoints = torch.utils.checkpoint


def _checkpointed(change: Callable[[Any, bool], Any]) -> Callable[[Wrong], Wrong]:
    def wrong(original: Wrong) -> Wrong:
        def checkpoint(function: Any, *given: Any, use_reentrant: Any = None, **flags: Any) -> Any:
            return change(original(function, *given, use_reentrant=use_reentrant, **flags), use_reentrant)

        return checkpoint

    return wrong


entry(
    "reentrant_checkpoint_doubles",
    "gradient_routes",
    "A reentrant checkpoint doubles what passes through it.",
    checkpoints,
    "checkpoint",
    _checkpointed(lambda out, reentrant: out * 2 if reentrant else out),
)
