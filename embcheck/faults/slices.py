"""Faults of slices of longer tensors: what lies beside them in memory looks like what is inside, and is read."""

from __future__ import annotations

import torch

from embcheck.faults.kernels import Tensor


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
