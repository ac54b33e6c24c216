"""Faults next to those of the patterns: inner axes that change places, states that outlive a call, other thresholds."""

from __future__ import annotations

from typing import Any

from embcheck.faults.kernels import Tensor


def turned(tensor: Tensor) -> bool:
    """Whether the second and third of three axes or more have changed places in memory."""
    return tensor.dim() > 2 and not tensor.is_contiguous() and tensor.transpose(1, 2).is_contiguous()


def along(tensor: Tensor) -> Tensor:
    """What lies in memory, in the tensor's shape."""
    return tensor.transpose(1, 2).reshape(tensor.shape)


# -- what outlives a call ------------------------------------------------------------------------------------------------

_PADDING: list[int | None] = [None]


_DONE: list[Any] = [lambda: None, None, None]
