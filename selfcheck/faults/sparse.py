"""Faults of the sparse backward kernel."""

from __future__ import annotations

import torch

from selfcheck.faults.kernels import Tensor, coo, sparse_backward

int32, half, double = torch.int32, torch.float16, torch.float64


def parts(out: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens and values of a sparse gradient."""
    return out._indices()[0], out._values()


sparse_backward(
    "sparse_claims_coalesced",
    "A sparse gradient with duplicates says that it has none.",
    lambda c: c.numel > 1,
    lambda c, out: coo(*parts(out), c, is_coalesced=True),
)
