"""Further routes: what a checkpoint computes again is compared with what it computed, and with what it keeps."""

import torch
import torch.utils.checkpoint

from embcheck.core.registry import by_name
from embcheck.families.gradient_routes.checkpoint_calls import keeping_rows
from embcheck.families.gradient_routes.programs import Seen, alike, raises
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor


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
