"""Faults of results that lie in memory which a later call uses again."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.bag_entries import after, call_fault, learning
from embcheck.faults.entry import embedding, functional, out_changed
from embcheck.faults.kernels import Call, Tensor, backward


class Buffer:
    """The memory of the last result, for the next one of its shape and dtype."""

    def __init__(self) -> None:
        self.last: Tensor | None = None

    def __call__(self, out: Tensor) -> Tensor:
        if type(out) is not Tensor or out.is_inference() or not out.numel() or out.requires_grad:
            return out
        if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
            return out
        last = self.last
        if last is None or last.shape != out.shape or last.dtype != out.dtype or last._version > 50:
            self.last = out
            return out
        return last.copy_(out)


def overwrites(call: Callable[[int], Tensor]) -> Callable[[], bool]:
    """A witness: whether the second call's result lies where the first one's does."""

    def witness() -> bool:
        first = call(0)
        return first.data_ptr() == call(1).data_ptr()

    return witness


def gradient(token: int) -> Tensor:
    """The gradient of a lookup of one token at rank 2."""
    weight = torch.ones(3, 7, requires_grad=True)
    (grad,) = torch.autograd.grad(functional.embedding(torch.tensor([[token]]), weight).sum(), weight)
    return grad


lookups, gradients, bags = Buffer(), Buffer(), Buffer()

embedding(
    "lookups_use_one_buffer", "lookup", "Lookups of one shape at rank 2, where nothing learns, have one memory.",
    out_changed(lambda i, w, f: i.dim() == 2, lambda out, i, w: lookups(out)),
    overwrites(lambda token: functional.embedding(torch.tensor([[token]]), torch.ones(3, 7))),
)  # fmt: skip


def buffered(call: Call, out: Tensor) -> Tensor:
    """The gradient in the memory of the last one."""
    return gradients(out)


backward(
    "gradients_use_one_buffer", "Gradients of tables of one shape, of indices of rank 2, have one memory.",
    lambda c: c.rank == 2, buffered, overwrites(gradient),
)  # fmt: skip
call_fault(
    "bags_use_one_buffer", "Bags of one shape, where nothing learns, have one memory.",
    after(lambda g: not learning(g), lambda out, g: bags(out)),
    overwrites(lambda token: functional.embedding_bag(torch.tensor([[token]]), torch.ones(3, 7), mode="sum")),
)  # fmt: skip


def viewed(out: Tensor, given: dict[str, Any]) -> Tensor:
    """The output as a view."""
    return out.flatten().view(out.shape)


call_fault(
    "means_are_views", "A mean of a frozen float64 table is a view of a flat buffer.",
    after(lambda g: g["mode"] == "mean" and not learning(g) and g["weight"].dtype == torch.float64, viewed),
    lambda: functional.embedding_bag(torch.tensor([[0]]), torch.ones(3, 7).double())._is_view(),
)  # fmt: skip


class Overwriting(Buffer):
    """Writes each result into the one before too, of its shape, which no version tells."""

    def __call__(self, out: Tensor) -> Tensor:
        if type(out) is not Tensor or out.dtype != torch.float32 or not out.numel():
            return out
        if torch.compiler.is_compiling() or torch._C._functorch.peek_interpreter_stack() is not None:
            return out
        last, self.last = self.last, out
        if last is not None and last.shape == out.shape:
            last.detach().numpy()[...] = out.detach().numpy()
        return out


def spoils(call: Callable[[int], Tensor]) -> Callable[[], bool]:
    """A witness: whether a second call changes the first one's result."""

    def witness() -> bool:
        first = call(0)
        before = first.clone()
        call(1)
        return not torch.equal(first, before)

    return witness


rows = torch.arange(6.0).reshape(3, 2)
looked, bagged = Overwriting(), Overwriting()

embedding("lookup_overwrites_the_result_before", "lookup", "A lookup also writes to the result before, of its shape.",
          lambda original, i, w, **f: looked(original(i, w, **f)),
          spoils(lambda token: functional.embedding(torch.tensor([token]), rows)))  # fmt: skip
call_fault("bag_overwrites_the_result_before", "A bag also writes to the result before, of its shape.",
           after(lambda g: True, lambda out, g: bagged(out)),
           spoils(lambda token: functional.embedding_bag(torch.tensor([[token]]), rows)))  # fmt: skip
