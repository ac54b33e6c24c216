"""Programs: how gradients lie in memory, and memory that lies as another tensor's."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor
Function = Callable[..., Any]


def lay_alike(p: Tensor, values: Tensor) -> Tensor:
    """A gradient that lies as its parameter does."""
    return torch.empty_like(p).copy_(values)


def lying_as(given: Tensor) -> Tensor:
    """Zeros that lie in memory as another tensor does."""
    if not given.numel():
        return torch.zeros_like(given)
    last = sum((size - 1) * stride for size, stride in zip(given.shape, given.stride(), strict=True))
    room = given.new_zeros(given.storage_offset() + last + 1)
    return room.as_strided(given.shape, given.stride(), given.storage_offset())


def in_rows(p: Tensor, values: Tensor) -> Tensor:
    """A sparse gradient that names every row that has elements, in order."""
    # Of one row, any stride counts as contiguous, and is taken for its length where it is added: see the ledger.
    rows, own = torch.arange(len(p) if p.numel() else 0), torch.empty(p.shape, dtype=p.dtype).copy_(values)
    return torch.sparse_coo_tensor(rows[None], own[: len(rows)], p.shape, is_coalesced=True)


def in_halves(p: Tensor, values: Tensor) -> Tensor:
    """The same uncoalesced: it names every row twice, in order, with half of its values each."""
    once = in_rows(p, values)
    rows, halves = once.indices().repeat_interleave(2, 1), (once.values() / 2).repeat_interleave(2, 0)
    return torch.sparse_coo_tensor(rows, halves, p.shape)


def crosswise(p: Tensor, values: Tensor) -> Tensor:
    """A gradient whose last two axes lie in the other order."""
    if p.dim() < 2:
        return lay_alike(p, values)
    room = torch.empty(p.mT.shape, dtype=p.dtype).mT if p.is_contiguous() else torch.empty(p.shape, dtype=p.dtype)
    return room.copy_(values)


def room(p: Tensor, *shape: int) -> Tensor:
    """Memory for a gradient, with numbers between its elements that are none of its own."""
    return torch.full(shape, 5.0, dtype=p.dtype)


#: How a gradient is laid out: naming the rows that it has, once or twice, with gaps between elements or rows, or one number for
#: each row, as that of a sum over it.
LAID: dict[str, Function] = named(
    {
        "": lay_alike,
        "crosswise": crosswise,
        "sparse": lambda p, values: in_rows(p, values) if p.dim() > 1 else lay_alike(p, values),
        "uncoalesced": lambda p, values: in_halves(p, values) if p.dim() > 1 else lay_alike(p, values),
        "strided": lambda p, values: room(p, *p.shape, 2)[..., 0].copy_(values),
        "rows": lambda p, values: (
            room(p, *p.shape[:-1], p.shape[-1] + 2)[..., :-2].copy_(values) if p.dim() else lay_alike(p, values)
        ),
        "expanded": lambda p, values: (
            room(p, p.numel())[: values[..., 0].numel()]
            .copy_(values[..., 0].reshape(-1))
            .view(values[..., :1].shape)
            .expand(p.shape)
            if p.dim() and p.numel()
            else lay_alike(p, values)
        ),
    },
    prefix="lay_",
)
