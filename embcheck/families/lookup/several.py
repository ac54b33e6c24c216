"""A route of several calls of which each is judged: what is aimed meets many facts of a kernel's calls at once.

The calls differ in what their result does not hang on: rank, index dtype, strides, and how many calls came before.  Tables
change their sign from call to call and upstream gradients are multiplied with `FACTORS`, so that no call gives what the one before
it gave; both are undone exactly, and then all calls have to give the same.  It imports nothing but torch, as the programs do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from embcheck.families.lookup.programs import Call, Rebuild, Tensor

#: What the upstream gradients of the calls are multiplied with; no two in turn are the same.
FACTORS = (1, -1, 2, 1, -1, 2)
STRIDES = ("rows_strided", "transposed", "offset", "strided")
#: The strides of tokens, upstream gradient and table at sixteen turns, of which any two meet in all ways: a line's sums in GF(4).
TURNS = tuple((a, a ^ b, (0, 2, 3, 1)[a] ^ b) for b in range(4) for a in range(4))


def relaid(tensor: Tensor, strides: str) -> Tensor:
    """A copy that lies in memory otherwise; as it comes where its shape leaves no choice."""
    if strides == "transposed" and tensor.dim() > 1:
        return tensor.transpose(-1, -2).clone(memory_format=torch.contiguous_format).transpose(-1, -2)
    if strides == "offset" or not tensor.dim():
        return torch.cat([tensor.new_zeros(3), tensor.reshape(-1)])[3:].view(tensor.shape)
    width = tensor.shape[-1]
    if strides == "rows_strided":
        return tensor.new_zeros((*tensor.shape[:-1], width + 1))[..., :width].copy_(tensor)
    return tensor.new_zeros((*tensor.shape[:-1], 2 * width))[..., ::2].copy_(tensor)


def ranked(tokens: Tensor, rank: int) -> Tensor:
    """The same tokens with so many axes."""
    count = tokens.numel()
    if rank == 1 or not count:
        return tokens.reshape(-1)
    split = next((k for k in (2, 3, 5, 7, 11, 13) if count % k == 0 and count > k), 1)
    return tokens.reshape((1,) * (rank - 2) + (split, count // split))


def alike(one: Tensor, other: Tensor) -> bool:
    """Whether two values, or two gradients with their entries in the same order, are equal; a NaN equals a NaN."""
    if not one.is_sparse:
        return bool(((one == other) | (one.isnan() & other.isnan())).all())
    return torch.equal(one._indices(), other._indices()) and alike(one._values(), other._values())


def unlike(name: str, found: Sequence[Tensor]) -> dict[str, Tensor]:
    """Those that are not as the first, dense and one behind the other, under a name; nothing where there is none."""
    others = [each.to_dense() for each in found[1:] if not alike(each, found[0])]
    return {name: torch.stack(others)} if others else {}


def several(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    # Calls of the same lookup whose tensors lie otherwise; each gives what the first one gives.
    table, start = leaf.detach(), leaf.shape[0] + leaf.shape[1] + indices.numel()
    values = [call(indices)]
    grads = [*torch.autograd.grad(values[0], leaf, upstream)]
    for turn, factor in enumerate(FACTORS[1:], start):
        sign, strides = 1 if (turn - start) % 2 else -1, [STRIDES[place] for place in TURNS[turn % 16]]
        tokens = ranked(indices.int() if turn // 4 % 2 else indices.long(), 1 + turn % 3)
        tokens = relaid(tokens, strides[0])
        sent = relaid(upstream.reshape(*tokens.shape, -1), strides[1]).mul_(factor)
        leaf.data = relaid(table, strides[2]).mul_(sign)
        found = call(tokens)
        grads.append(torch.autograd.grad(found, leaf, sent)[0].div_(factor))
        values.append((found.detach() * sign).reshape(values[0].shape))
    leaf.data = table
    others = unlike("other_values", values) | unlike("other_weight_grad", grads)
    return {"value": values[0], "weight_grad": grads[0], **others}
