"""Witnesses that compare a call with a loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.kernels import Tensor


def zero_behind(tensor: Tensor) -> Tensor:
    """Zeroes the element behind a tensor, if its memory has one, and returns the tensor."""
    end = tensor.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() and tensor.untyped_storage().nbytes() // tensor.element_size() > end:
        tensor.as_strided((1,), (1,), end).zero_()
    return tensor


def seen(probe: Callable[[], Any]) -> str:
    """What a probe gives or raises, in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return repr(described(probe()))
        except Exception as error:
            return type(error).__name__


def described(found: Any) -> Any:
    """Tensors by their metadata and numbers, and the members of tuples, lists and dicts."""
    if isinstance(found, torch.Tensor):
        strides = found.stride() if found.layout == torch.strided else found.is_coalesced()
        elements = found.detach().to_dense().tolist() if found.device.type == "cpu" else []
        kind = type(found), found.dtype, found.shape, found.layout, str(found.device)
        return *kind, strides, found.requires_grad, found.is_leaf, elements
    if isinstance(found, (tuple, list)):
        return [described(part) for part in found]
    if isinstance(found, dict):
        return {name: described(part) for name, part in found.items()}
    return found
