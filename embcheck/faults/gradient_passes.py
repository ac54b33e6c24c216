"""Faults of the dense backward kernel: several passes, create_graph and double backward."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.gradient_flags import unmasked
from embcheck.faults.kernels import Call, Tensor, backward_spoiled


@fault("gradient", lambda: passes([0, 1], retain=True) != 2.0)
def retained_pass_doubles() -> Iterator[None]:
    """A second backward pass over the same graph gives twice the gradient."""
    seen: list[Tensor] = []

    def spoil(call: Call, out: Tensor) -> Tensor:
        again = bool(seen) and seen[0] is call.indices and call.given.dtype == torch.float32
        seen[:] = [call.indices]
        return out * 2 if again else out

    with backward_spoiled(lambda call: True, spoil):
        yield


def passes(tokens: list[int], retain: bool) -> float:
    """Row 0's gradient after two passes over one graph."""
    weight = torch.ones(2, 1, requires_grad=True)
    total = torch.nn.functional.embedding(torch.tensor(tokens), weight).sum()
    total.backward(retain_graph=retain)
    total.backward()
    assert weight.grad is not None
    return float(weight.grad[0])


@fault("gradient", lambda: with_graph() != 1.0)
def create_graph_negates() -> Iterator[None]:
    """With create_graph the gradient has the other sign at rank 2."""
    with backward_spoiled(lambda call: torch.is_grad_enabled() and call.rank == 2, lambda call, out: -out):
        yield


def with_graph() -> float:
    """A gradient taken with create_graph."""
    weight = torch.ones(2, 1, requires_grad=True)
    value = torch.nn.functional.embedding(torch.tensor([[0]]), weight).sum()
    (grad,) = torch.autograd.grad(value, weight, create_graph=True)
    return float(grad[0])


@fault("padding", lambda: second_padding() != 0.0)
def padding_forgotten_in_the_second_pass() -> Iterator[None]:
    """Padding is masked in the first of two passes with the same indices only."""
    seen: list[Tensor] = []

    def spoil(call: Call, out: Tensor) -> Tensor:
        again = bool(seen) and seen[0] is call.indices
        seen[:] = [call.indices]
        return unmasked(call, out) if again else out

    with backward_spoiled(lambda call: True, spoil):
        yield


def second_padding() -> float:
    """Padding's gradient after two passes."""
    weight = torch.ones(2, 1, requires_grad=True)
    indices = torch.tensor([0, 1])
    for _ in range(2):
        torch.nn.functional.embedding(indices, weight, 0).sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0])


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


def double_gradient_differs(
    tokens: list[int], shape: tuple[int, ...], padding: int | None, rows: int = 3
) -> Callable[[], bool]:
    """Whether the upstream's own gradient departs from the rows that were looked up."""

    def witness() -> bool:
        weight = torch.ones(rows, 2, requires_grad=True)
        probe = 1.0 + torch.arange(rows * 2.0).reshape(rows, 2)
        upstream = torch.ones(*shape, 2, requires_grad=True)
        value = torch.nn.functional.embedding(torch.tensor(tokens).reshape(shape), weight, padding)
        (grad,) = torch.autograd.grad(value, weight, upstream, create_graph=True)
        (found,) = torch.autograd.grad((grad * probe).sum(), upstream)
        rows_of = [probe[token] * (token != padding) for token in tokens]
        return not torch.equal(found, torch.stack(rows_of).reshape(*shape, 2))

    return witness


_doubles = [
    (
        "double_backward_forgets_padding",
        "Double backward gives padding's tokens their rows.",
        lambda indices, padding, out: out + 1.0 * (indices == padding)[..., None].to(out.dtype),
        [0, 1],
        (2,),
        0,
    ),
    (
        "double_backward_doubles",
        "Double backward is twice what it should be at rank 3.",
        lambda indices, padding, out: out * 2 if indices.dim() == 3 else out,
        [0, 1],
        (1, 2, 1),
        None,
    ),
    (
        "double_backward_first_duplicate",
        "Double backward gives the second of two equal tokens nothing.",
        lambda indices, padding, out: out * _first_of_equals(indices)[..., None].to(out.dtype),
        [1, 1],
        (2,),
        None,
    ),
]


def _first_of_equals(indices: Tensor) -> Tensor:
    tokens = indices.reshape(-1).tolist()
    first = [token not in tokens[:place] for place, token in enumerate(tokens)]
    return torch.tensor(first, dtype=torch.bool).reshape(indices.shape)


for _name, _sentence, _spoil, _tokens, _shape, _padding in _doubles:
    _plant = _double_backward(_spoil)
    _plant.__name__, _plant.__doc__ = _name, _sentence
    fault("gradient", double_gradient_differs(_tokens, _shape, _padding))(_plant)

_plant = _double_backward(lambda indices, padding, out: out)
_plant.__name__, _plant.__doc__ = "double_backward_replaced", "A double backward of our own, nothing wrong in it."
fault("gradient", lambda: False, control=True)(_plant)
