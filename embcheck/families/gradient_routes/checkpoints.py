"""Ways to call a checkpoint, and further routes: what it computes again is compared with what it computed and keeps."""

import functools
from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.core.registry import by_name
from embcheck.families.gradient_routes.programs import Seen, alike, raises
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor


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


def checkpointed_with_two_kept(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Of two lookups in one checkpoint each has the rows that were kept of it; before torch 2.5 none are kept.
    checkpoint = torch.utils.checkpoint.checkpoint
    others = indices.flip(-1) if indices.dim() else indices

    def product(tokens: Tensor, others: Tensor) -> Tensor:
        return call(tokens) * call(others).exp2()

    again = checkpoint(product, indices, others, use_reentrant=False, context_fn=keeping_rows())
    (due,) = torch.autograd.grad(product(indices, others), leaf, upstream)
    (found,) = torch.autograd.grad(again, leaf, upstream)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": alike(found, due)}


def recomputed_otherwise(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What is computed again has another shape, which a checkpoint may be told to ignore, and a reentrant checkpoint is asked for
    # one gradient alone.
    turns = [indices, indices[None]]
    checkpoint, learning = torch.utils.checkpoint.checkpoint, torch.zeros((), requires_grad=True)
    value = checkpoint(lambda tokens: call(turns.pop(0)), indices, use_reentrant=False)
    refused = raises(lambda: value.backward(upstream))
    factors, few = [torch.ones(2), torch.ones(1)], torch.ones(2, requires_grad=True)
    unchecked = checkpoint(lambda few: few * factors.pop(0), few, use_reentrant=False, determinism_check="none")
    refused &= not raises(lambda: unchecked.sum().backward())
    reentrant = checkpoint(lambda tokens, other: call(tokens), indices, learning, use_reentrant=True)
    refused &= raises(lambda: reentrant.backward(upstream, inputs=[learning]))
    return {"refused": refused and leaf.grad is None}


ROUTES: dict[str, Route] = by_name(checkpointed_with_two_kept, recomputed_otherwise)
