"""Faults of max_norm that show on some rows, norms, dtypes and sizes only."""

from __future__ import annotations

import torch

from embcheck.faults.kernels import Tensor

functional = torch.nn.functional


def scaled(weight: Tensor, token: int, by: float) -> bool:
    """True, after a row is multiplied."""
    weight[token].mul_(by)
    return True


def row(
    values: list[float], max_norm: float, norm_type: float = 2.0, dtype: torch.dtype = torch.float32, times: int = 1
) -> list[float]:
    """What a lookup of one row makes of it."""
    weight = torch.tensor([values], dtype=dtype)
    functional.embedding(torch.zeros(times, dtype=torch.int64), weight, max_norm=max_norm, norm_type=norm_type)
    found: list[float] = weight[0].tolist()
    return found
