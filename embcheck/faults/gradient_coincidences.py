"""Faults of the gradient where tokens, sizes or memory happen to agree: each axis alone is as usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import embedding
from embcheck.faults.kernels import Call, Tensor

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64


def added(call: Call, out: Tensor, row: int, more: Tensor | float) -> Tensor:
    """The gradient with something added to a row."""
    out = out.clone()
    out[row] += more
    return out


def counts(call: Call) -> Tensor:
    """How often each row is looked up."""
    return torch.bincount(call.tokens, minlength=call.rows)


def without(call: Call, out: Tensor, place: int) -> Tensor:
    """The gradient without what one token sends."""
    row = int(call.tokens[place])
    if row == call.padding_idx:
        return out
    count = int((call.tokens == row).sum()) if call.scale else 1
    return added(call, out, row, -call.upstream[place] / count)


class _Scaled(torch.autograd.Function):
    """The identity whose gradient is multiplied by a number."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0] * context.factor, None


def later(
    name: str,
    sentence: str,
    when: Callable[..., bool],
    factor: float,
    witness: Callable[[], bool],
    family: str = "gradient",
) -> None:
    """Registers a fault of F.embedding: the gradient of some calls is multiplied."""

    def wrong(original: Callable[..., Tensor], input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
        out = original(input, weight, **flags)
        plain = type(out) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(out)
        if not plain or not out.requires_grad or out.is_sparse or not when(input, weight, flags):
            return out
        found: Tensor = _Scaled.apply(out, factor)  # type: ignore[no-untyped-call]
        return found

    embedding(name, family, sentence, wrong, witness)
