"""Faults of sparse gradients that are added or made dense, and of loading with hooks."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import numbered
from embcheck.faults.kernels import Tensor

Module = torch.nn.Module


def column() -> Any:
    """A sparse gradient of one column, in which a row comes twice, made dense."""
    grad = torch.sparse_coo_tensor(torch.tensor([[1, 1]]), numbered(2, 1), (3, 1))
    return grad.to_dense().tolist()


def both() -> Any:
    """The sum of two rows' gradients."""
    parts = [torch.sparse_coo_tensor(torch.tensor([[row]]), numbered(1), (3, 2)).coalesce() for row in (0, 2)]
    return (parts[0] + parts[1]).to_dense().tolist()


def shared(original: Any, self: Tensor, **flags: Any) -> Any:
    """The clone of a merged gradient shares its values."""
    if self.is_sparse and self.is_coalesced():
        return torch.sparse_coo_tensor(self._indices(), self._values(), self.shape, is_coalesced=True)
    return original(self, **flags)


def swapped() -> bool:
    """Whether a gradient survives."""
    layer = torch.nn.Embedding(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    torch.__future__.set_swap_module_params_on_conversion(True)
    try:
        layer.double()
    finally:
        torch.__future__.set_swap_module_params_on_conversion(False)
    return layer.weight.grad is not None
