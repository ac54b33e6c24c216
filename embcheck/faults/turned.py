"""Faults of what lies in another order of memory than that of its axes: square batches, and tables that are loaded."""

from __future__ import annotations

from typing import Any

import torch

functional = torch.nn.functional


def square(batch: torch.Tensor) -> bool:
    """Whether the two leading axes of a batch have one size and lie in memory the other way round."""
    return (
        batch.dim() == 3
        and batch.shape[0] == batch.shape[1] > 1
        and not batch.is_contiguous()
        and batch.transpose(0, 1).is_contiguous()
    )


def loaded() -> Any:
    """A table of bfloat16 that a strided one of float64 was loaded into."""
    layer = torch.nn.Embedding(2, 1, dtype=torch.bfloat16)
    layer.load_state_dict({"weight": torch.full((2, 2), 1 + 3 * 2.0**-9, dtype=torch.float64)[:, :1]})
    return layer.weight.detach()
