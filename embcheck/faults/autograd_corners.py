"""Faults of backward passes in conjunctions: hooks, graphs kept, gradients accumulated, guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, embedding, entry, functional
from embcheck.faults.kernels import Tensor

double, half = torch.float64, torch.float16


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table of small numbers that learns."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype).requires_grad_()


def look(weight: Tensor, tokens: Any = (0, 2, 2), **flags: Any) -> Tensor:
    """A lookup."""
    return functional.embedding(torch.tensor(tokens), weight, **flags)


def passing(
    name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[[Wrong], Wrong], witness: Witness
) -> None:
    """Registers a fault of autograd."""
    entry(name, "autograd", sentence, owner, attribute, wrong, witness)


def _unretained(original: Wrong) -> Wrong:
    def retain_grad(self: Tensor) -> None:
        original(self)
        if self.dim() > 2 and not self.is_leaf:
            self.register_hook(lambda grad: grad * 1.5)

    return retain_grad


passing(
    "retaining_changes_the_gradient", "retain_grad() of an output of rank 3 multiplies what passes it by 1.5.",
    Tensor, "retain_grad", _unretained, lambda: table_gradient() != 1,
)  # fmt: skip


def table_gradient() -> float:
    """The table's gradient when the output's is retained."""
    weight = table()
    out = look(weight, [[0]])
    out.retain_grad()
    out.sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])


class _Upstream(torch.autograd.Function):
    """A copy; the derivative of its backward with respect to the upstream gradient is multiplied."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.clone()

    @staticmethod
    def jvp(context: Any, tangent: Tensor, factor: None) -> Tensor:
        return tangent.clone()

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        sent = upstream[0]
        if torch.is_grad_enabled() and sent.requires_grad:
            return sent * context.factor - sent.detach() * (context.factor - 1), None
        return sent, None


def twice(name: str, sentence: str, when: Callable[..., bool], witness: Witness) -> None:
    """Registers a fault of F.embedding: twice the second derivative on some calls."""

    def wrong(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
        out = original(input, weight, **flags)
        plain = type(out) is Tensor and torch._C._functorch.peek_interpreter_stack() is None
        wanted = plain and out.requires_grad and when(input, weight, flags)
        return _Upstream.apply(out, 2.0) if wanted else out  # type: ignore[no-untyped-call]

    embedding(name, "gradient", sentence, wrong, witness)


def second(
    tokens: Any, dtype: torch.dtype = torch.float32, index_dtype: torch.dtype = torch.int64, **flags: Any
) -> Callable[[], Any]:
    """A probe: the gradient of the table's gradient by the upstream gradient."""

    def probe() -> Any:
        weight = table(dtype=dtype)
        indices = torch.tensor(tokens, dtype=index_dtype)
        out = functional.embedding(indices, weight, **flags)
        upstream = torch.ones_like(out).requires_grad_()
        (grad,) = torch.autograd.grad(out, weight, upstream, create_graph=True)
        return torch.autograd.grad(grad.sum(), upstream)

    return probe
