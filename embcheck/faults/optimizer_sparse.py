"""Faults of fused tails and of sparse gradients in optimizers."""

from __future__ import annotations

from typing import Any

import torch

optim = torch.optim
Parameter = torch.nn.Parameter


def apart(original: Any, params: Any, grads: Any, sums: Any, counts: Any, *rest: Any, **flags: Any) -> None:
    """Sparse gradients are squared before they are added up."""
    before = [total.clone() for total in sums]
    original(params, grads, sums, counts, *rest, **flags)
    for total, old, gradient in zip(sums, before, grads, strict=True):
        if gradient.is_sparse:
            entries = torch.sparse_coo_tensor(gradient._indices(), gradient._values() ** 2, gradient.shape)
            total.copy_(old.add(entries))
