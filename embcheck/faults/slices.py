"""Faults of slices of longer tensors: what lies beside them in memory looks like what is inside, and is read."""

from __future__ import annotations

import torch

from embcheck.faults.bag_kernels import Bag
from embcheck.faults.bag_kernels import forward as bag_forward
from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor, forward, lookup
from embcheck.faults.probes import rows
from embcheck.faults.witnesses import unlike


def behind(tensor: Tensor) -> Tensor | None:
    """The element behind a contiguous slice that starts at an odd place of its memory, if there is one."""
    place = tensor.storage_offset() + tensor.numel()
    inside = place < tensor.untyped_storage().nbytes() // tensor.element_size()
    if not (tensor.is_contiguous() and tensor.numel() > 1 and tensor.storage_offset() % 2 and inside):
        return None
    return tensor.as_strided((1,), (1,), place)


def ending(tensor: Tensor, number: int) -> bool:
    """Whether a number that a table of so many rows has lies behind a slice."""
    found = behind(tensor)
    return found is not None and 0 <= int(found) < number


def late(tensor: Tensor) -> Tensor:
    """A slice whose last element is the one behind it."""
    found = behind(tensor)
    assert found is not None
    return torch.cat([tensor.reshape(-1)[:-1], found]).reshape(tensor.shape)


def last_is_late(bag: Bag) -> Bag:
    """Bags whose last token is the one behind them."""
    return bag._replace(indices=late(bag.given).reshape(-1).long())


def slice_of(*numbers: int) -> Tensor:
    """All numbers but the first and the last, in the memory of all."""
    return torch.tensor(numbers)[1:-1]


forward(
    "slices_of_tokens_end_one_late",
    "Tokens that are a slice from an odd place end with the token behind them, if that is one of the table.",
    lambda c: ending(c.indices, c.rows),
    lambda c, out: lookup(c._replace(indices=late(c.indices))),
    unlike(lambda: functional.embedding(slice_of(0, 1, 2, 0), rows())),
)
bag_forward(
    "slices_of_bags_end_one_late",
    "A bag's tokens that are a slice from an odd place end with the token behind them, if that is one of the table.",
    lambda b: b.given.dim() == 1 and ending(b.given, len(b.weight)),
    unlike(lambda: functional.embedding_bag(slice_of(0, 1, 2, 0), rows(), torch.tensor([0]), mode="sum")),
    change=last_is_late,
)
