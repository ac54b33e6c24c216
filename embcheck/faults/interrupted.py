"""Faults of regions that end by an exception, of complex parameters, of states that are loaded in double precision and of
buffers in copies."""

from __future__ import annotations

import torch

from embcheck.faults.around import numbered
from embcheck.faults.kernels import Tensor

optim = torch.optim
Parameter = torch.nn.Parameter


def resumed() -> Tensor:
    """A parameter in double precision whose NAdam was loaded before the second step."""
    p = Parameter(numbered(dtype=torch.float64))
    optimizer = optim.NAdam([p], lr=0.5)
    for _ in range(2):
        p.grad = torch.ones_like(p)
        optimizer.step()
        other = optim.NAdam([p], lr=0.5)
        other.load_state_dict(optimizer.state_dict())
        optimizer = other
    return p.detach()
