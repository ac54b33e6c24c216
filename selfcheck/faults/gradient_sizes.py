"""Faults of the dense backward kernel: sizes, ranks and dtypes."""

from __future__ import annotations

import torch

from selfcheck.faults.kernels import backward

int32, half, bfloat16, double = torch.int32, torch.float16, torch.bfloat16, torch.float64


backward(
    "backward_draws_random_numbers",
    "A backward pass of float64 draws a random number.",
    lambda c: c.given.dtype == double,
    lambda c, out: (torch.rand(1), out)[1],
)
