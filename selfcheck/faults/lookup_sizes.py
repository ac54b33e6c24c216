"""Faults of the forward kernel: sizes, ranks and dtypes."""

from __future__ import annotations

import torch

from selfcheck.faults.kernels import Call, Tensor, forward


def rows_of(out: Tensor) -> Tensor:
    """The output as one row for each token."""
    return out.view(-1, out.shape[-1])


def zeroed_last(call: Call, out: Tensor) -> Tensor:
    """The last token's row is zero."""
    rows_of(out)[-1] = 0
    return out


int32, half, bfloat16, double = torch.int32, torch.float16, torch.bfloat16, torch.float64


forward(
    "two_threads_tall_table",
    "With two threads and V > 1000 the last token is zero.",
    lambda c: torch.get_num_threads() == 2 and c.rows > 1000 and c.numel > 0,
    zeroed_last,
)
