"""Faults of results that lie in memory which a later call uses again."""

from __future__ import annotations

import torch

from selfcheck.faults.bag_entries import after, call_fault
from selfcheck.faults.entry import embedding, functional
from selfcheck.faults.kernels import Call, Tensor, backward


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


def gradient(token: int) -> Tensor:
    """The gradient of a lookup of one token at rank 2."""
    weight = torch.ones(3, 7, requires_grad=True)
    (grad,) = torch.autograd.grad(functional.embedding(torch.tensor([[token]]), weight).sum(), weight)
    return grad


lookups, gradients, bags = Buffer(), Buffer(), Buffer()


def buffered(call: Call, out: Tensor) -> Tensor:
    """The gradient in the memory of the last one."""
    return gradients(out)


backward(
    "gradients_use_one_buffer", "Gradients of tables of one shape, of indices of rank 2, have one memory.",
    lambda c: c.rank == 2, buffered,
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


rows = torch.arange(6.0).reshape(3, 2)
looked, bagged = Overwriting(), Overwriting()

embedding("lookup_overwrites_the_result_before", "lookup", "A lookup also writes to the result before, of its shape.",
          lambda original, i, w, **f: looked(original(i, w, **f)))  # fmt: skip
call_fault("bag_overwrites_the_result_before", "A bag also writes to the result before, of its shape.",
           after(lambda g: True, lambda out, g: bagged(out)))  # fmt: skip
