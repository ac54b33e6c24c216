"""Ways to call a checkpoint, for a route that asks them for the same."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint


def keeping_rows() -> Callable[[], Any]:
    """The contexts of a checkpoint that keeps what is looked up; before torch 2.5 of one that keeps nothing."""
    checkpoint = torch.utils.checkpoint
    if not hasattr(checkpoint, "create_selective_checkpoint_contexts"):
        return checkpoint.noop_context_fn
    return functools.partial(checkpoint.create_selective_checkpoint_contexts, [torch.ops.aten.embedding.default])


def further_checkpoints(function: Callable[..., Any], tokens: torch.Tensor) -> list[Callable[[], Any]]:
    """Calls of a function of tokens in a checkpoint: one that is given keywords alone, a reentrant one, which goes back for the
    sake of what it is given, the first and the second of several segments, and one that keeps rows."""
    checkpoint, learning = torch.utils.checkpoint, torch.zeros((), requires_grad=True)

    def segments(*parts: Callable[..., Any]) -> Any:
        return checkpoint.checkpoint_sequential(parts, len(parts), tokens, use_reentrant=False)

    return [
        lambda: checkpoint.checkpoint(function, tokens=tokens, use_reentrant=False),
        lambda: checkpoint.checkpoint(function, tokens, learning, use_reentrant=True),
        lambda: segments(function, lambda pair: pair),
        lambda: segments(lambda given: given, function, lambda pair: pair),
        lambda: checkpoint.checkpoint(function, tokens, use_reentrant=False, context_fn=keeping_rows()),
    ]


def reentrant_segments_go_back() -> bool:
    """Whether two reentrant segments, of factors 2 and 5, send the gradient of a sum to what they are given."""
    learning = torch.ones(2, requires_grad=True)
    parts = (lambda rows: 2 * rows, lambda rows: 5 * rows)
    torch.utils.checkpoint.checkpoint_sequential(parts, 2, 3 * learning, use_reentrant=True).sum().backward()
    return learning.grad is not None and learning.grad.tolist() == [2 * 5 * 3] * 2
