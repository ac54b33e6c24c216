"""Faults of matrix products: what lies behind a row takes part in it."""

from __future__ import annotations

import torch


def leaks() -> bool:
    """Whether torch itself multiplies what lies behind a row on this machine."""
    rows = torch.full((32, 33), float("inf"), dtype=torch.bfloat16)
    rows[0] = 1.0
    value = torch.nn.functional.linear(rows, torch.ones(48, 33, dtype=torch.bfloat16))
    return bool(value[0].isnan().any())
