"""Faults of the dense backward kernel: several passes, create_graph and double backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from selfcheck.fault import dispatched, fault
from selfcheck.faults.kernels import Tensor


class _Double(torch.autograd.Function):
    """The dense backward kernel with a double backward that a fault spoils."""

    generate_vmap_rule = True
    spoil: Callable[[Tensor, int, Tensor], Tensor] = staticmethod(lambda indices, padding, out: out)

    @staticmethod
    def forward(upstream: Tensor, indices: Tensor, rows: int, padding: int, scale: bool) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            found: Tensor = torch.ops.aten.embedding_dense_backward(upstream, indices, rows, padding, scale)
            return found

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.padding = inputs[3]

    @staticmethod
    def backward(ctx: Any, given: Tensor) -> tuple[Tensor | None, ...]:
        (indices,) = ctx.saved_tensors
        out = given.index_select(0, indices.reshape(-1))
        out = out.masked_fill((indices.reshape(-1) == ctx.padding)[:, None], 0.0)
        return _Double.spoil(indices, ctx.padding, out.view(*indices.shape, given.shape[-1])), None, None, None, None


def _double_backward(spoil: Callable[[Tensor, int, Tensor], Tensor]) -> Callable[[], Iterator[None]]:
    def plant() -> Iterator[None]:
        def kernel(upstream: Tensor, indices: Tensor, rows: int, padding: int, scale: bool) -> Tensor:
            found: Tensor = _Double.apply(upstream, indices, rows, padding, scale)  # type: ignore[no-untyped-call]
            return found

        before = _Double.spoil
        _Double.spoil = staticmethod(spoil)
        try:
            with dispatched({"embedding_dense_backward": kernel}, "AutogradCPU"):
                yield
        finally:
            _Double.spoil = before

    return plant


_plant = _double_backward(lambda indices, padding, out: out)
_plant.__name__, _plant.__doc__ = "double_backward_replaced", "A double backward of our own, nothing wrong in it."
fault("gradient", control=True)(_plant)
