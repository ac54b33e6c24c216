"""Faults of bags with max_norm: beside per_sample_weights, and where the weight is no Parameter of its layer."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.bag_entries import Call, call_fault
from selfcheck.faults.bags import Given
from selfcheck.faults.kernels import Tensor


def weighted(given: Given) -> bool:
    """Whether a call bounds rows that it weighs."""
    return given.get("per_sample_weights") is not None and given.get("max_norm") is not None


call_fault(
    "weighted_cuts_are_bounded_in_a_copy",
    "Weighted bags with offsets rescale a copy of the table.",
    lambda original, g: original(**g | {"weight": g["weight"].clone()} if weighted(g) and g["input"].dim() == 1 else g),
    family="max_norm",
)


class _Before(torch.autograd.Function):
    """The weights' gradient with the rows that a lookup found."""

    @staticmethod
    def forward(ctx: Any, samples: Tensor, out: Tensor, rows: Tensor) -> Tensor:
        ctx.save_for_backward(rows)
        return out.clone()

    @staticmethod
    def backward(ctx: Any, sent: Tensor) -> tuple[Tensor, None, None]:
        return (sent.unsqueeze(1) * ctx.saved_tensors[0]).sum(-1), None, None


apply: Any = _Before.apply


def _unbounded(original: Call, given: Given) -> Any:
    samples: Any = given.get("per_sample_weights")
    if not weighted(given) or given["input"].dim() != 2 or given["weight"].requires_grad or not samples.requires_grad:
        return original(**given)
    rows = given["weight"].detach()[given["input"].clamp(0, max(len(given["weight"]) - 1, 0)).long()].clone()
    return apply(samples, original(**given | {"per_sample_weights": samples.detach()}), rows)


call_fault(
    "weights_learn_from_unbounded_rows",
    "Beside a frozen table the weights of a batch get the gradient of the rows from before max_norm.",
    _unbounded,
    family="max_norm",
)
