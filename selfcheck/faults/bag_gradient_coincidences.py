"""Faults of the gradients of bags in conjunctions, planted between the table and the call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.bag_entries import Call, call_fault
from selfcheck.faults.bags import Given
from selfcheck.faults.kernels import Tensor

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64
Change = Callable[[Tensor, Given], Tensor]


class _Changed(torch.autograd.Function):
    """The identity whose gradient is changed."""

    @staticmethod
    def forward(context: Any, value: Tensor, change: Callable[[Tensor], Tensor]) -> Tensor:
        context.change = change
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return context.change(upstream[0]), None


def plain(given: Given) -> bool:
    """Whether the call may be taken apart: nothing is written, no transform is at work."""
    if (
        given.get("max_norm") is not None
        or torch.compiler.is_compiling()
        or torch._C._functorch.peek_interpreter_stack()
    ):
        return False
    return type(given["weight"]) in (Tensor, torch.nn.Parameter)


def learned(name: str, sentence: str, which: str, when: Callable[[Given], bool], change: Change) -> None:
    """Registers a fault: the gradient of ``which`` ("weight", "per_sample_weights") is changed."""

    def wrong(original: Call, given: Given) -> Any:
        found = given.get(which)
        if (
            found is None
            or not found.requires_grad
            or not torch.is_grad_enabled()
            or not plain(given)
            or not when(given)
        ):
            return original(**given)
        changed = _Changed.apply(found, lambda grad: change(grad, given))  # type: ignore[no-untyped-call]
        return original(**given | {which: changed})

    call_fault(name, sentence, wrong)


def dense(grad: Tensor) -> bool:
    """Whether a gradient has rows and is dense."""
    return grad.layout == torch.strided and grad.numel() > 0


learned(
    "weighted_gradient_is_transposed_memory", "The table's gradient of a weighted sum lies by columns in float64.", "weight",
    lambda g: g.get("per_sample_weights") is not None and g["weight"].dtype == double and g["weight"].shape[1] > 1,
    lambda grad, g: grad.t().contiguous().t() if dense(grad) else grad,
)  # fmt: skip
