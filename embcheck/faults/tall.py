"""Faults of gradients that have more elements than are reduced, or written, in one piece."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around
from embcheck.faults.clipped import graded

utils = torch.nn.utils


def in_one_piece(original: Any, parameters: Any, *given: Any, **flags: Any) -> None:
    """Of a gradient no more than 65,536 elements are clamped."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    tall = [p.grad for p in listed if p.grad is not None and not p.grad.is_sparse and p.grad.numel() > 1 << 16]
    kept = [gradient.flatten()[1 << 16 :].clone() for gradient in tall]
    original(listed, *given, **flags)
    for gradient, rest in zip(tall, kept, strict=True):
        gradient.copy_(torch.cat([gradient.flatten()[: 1 << 16], rest]).reshape(gradient.shape))


def tall_gradient() -> Any:
    """A tall gradient that is clamped."""
    listed = graded(torch.full((65540,), 2.0))
    utils.clip_grad_value_(listed, 1.0)
    return listed[0].grad[-8:]


around(
    "tall_gradients_are_clamped_in_one_piece",
    "aftercare",
    "clip_grad_value_ clamps the first 65,536 elements of a gradient and no more.",
    utils,
    "clip_grad_value_",
    in_one_piece,
    tall_gradient,
)
