"""A route of several calls of a bag, each of which is judged; see `embcheck.families.lookup.several`.

Tables are halved and whole in turn, which every mode passes on exactly.  It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.embedding_bag.routes import BagCall, Given, Rebuild, Tensor, learners
from embcheck.families.lookup.several import FACTORS, STRIDES, TURNS, relaid, unlike


def several(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # Calls of the same bag whose tensors lie otherwise; each gives what the first one gives.
    indices, offsets, samples = given
    table, start = leaf.detach(), leaf.shape[0] + leaf.shape[1] + indices.numel()
    values, learned = [call(*given)], learners(leaf, given)
    grads = [torch.autograd.grad(values[0], learned, upstream)] if learned else []
    for turn, factor in enumerate(FACTORS[1:], start):
        scale, strides = 1.0 if (turn - start) % 2 else 0.5, [STRIDES[place] for place in TURNS[turn % 16]]
        whole = torch.int32 if turn // 4 % 2 else torch.int64
        starts = None if offsets is None else offsets.to(whole if turn // 2 % 2 else indices.dtype)
        weights = samples if samples is None or samples.requires_grad or turn % 2 else relaid(samples, "strided")
        leaf.data = relaid(table, strides[2]).mul_(scale)
        found = call(indices.to(whole), starts, weights)
        if grads:
            sent = relaid(upstream, strides[1]).mul_(factor)
            received = torch.autograd.grad(found, learned, sent)
            pairs = zip(learned, received, strict=True)
            grads.append(tuple(grad.div_(factor if tensor is leaf else factor * scale) for tensor, grad in pairs))
        values.append(found.detach() / scale)
    leaf.data = table
    told: dict[str, Any] = {"value": values[0], **unlike("other_values", values)}
    for tensor, received in zip(learned, zip(*grads, strict=True), strict=True):
        name = "weight_grad" if tensor is leaf else "sample_grad"
        told |= {name: received[0], **unlike(f"other_{name}", received)}
    return told
