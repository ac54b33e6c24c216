"""Ways to call a checkpoint, for a route that asks them for the same."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint


def further_checkpoints(function: Callable[..., Any], tokens: torch.Tensor) -> list[Callable[[], Any]]:
    """Calls of a function of tokens in a checkpoint: one that is given keywords alone, a reentrant one, which goes back for the
    sake of what it is given, the first and the second of several segments, and one that keeps rows."""
    checkpoint, learning = torch.utils.checkpoint, torch.zeros((), requires_grad=True)

    def segments(*parts: Callable[..., Any]) -> Any:
        return checkpoint.checkpoint_sequential(parts, len(parts), tokens, use_reentrant=False)

    ways: list[Callable[[], Any]] = [
        lambda: checkpoint.checkpoint(function, tokens=tokens, use_reentrant=False),
        lambda: checkpoint.checkpoint(function, tokens, learning, use_reentrant=True),
        lambda: segments(function, lambda pair: pair),
        lambda: segments(lambda given: given, function, lambda pair: pair),
    ]
    if hasattr(checkpoint, "create_selective_checkpoint_contexts"):
        kept = [torch.ops.aten.embedding.default]
        contexts = functools.partial(checkpoint.create_selective_checkpoint_contexts, kept)
        ways.append(lambda: checkpoint.checkpoint(function, tokens, use_reentrant=False, context_fn=contexts))
    return ways
