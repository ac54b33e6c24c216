"""Faults by which a derivative is not there, or is that of another sample of a batch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor

TOKENS, STARTS = torch.tensor([0, 1]), torch.tensor([0])


def _cut(out: Tensor, input: Tensor, weight: Tensor) -> Tensor:
    out.register_hook(lambda sent: sent.detach() if sent.grad_fn is not None else None)
    return out


def lost(name: str) -> bool:
    """Whether a bag of the second of two tables, or of two samples' weights, is not its own."""
    given: dict[str, Any] = {"weight": torch.ones(3, 1), "per_sample_weights": torch.ones(2)}
    both = torch.stack((torch.zeros_like(given[name]), given[name]))
    look = torch.vmap(
        lambda value: functional.embedding_bag(TOKENS, offsets=STARTS, mode="sum", **given | {name: value})
    )
    return float(look(both)[1]) != 2.0
