"""Faults of gradients in another format than their table's, and of checkpoints within contexts."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.faults.around import around
from embcheck.faults.driven import leaf, lookup
from embcheck.faults.hooks import leaves_of
from embcheck.faults.kernels import Tensor


def _narrow(original: Any, self: Tensor, *given: Any, **flags: Any) -> None:
    """A gradient of another format than its leaf's goes through the leaf's."""
    leaves = leaves_of(self.grad_fn)
    original(self, *given, **flags)
    for variable in leaves:
        if variable.grad is not None and variable.grad.dtype != variable.dtype:
            variable.grad = variable.grad.to(variable.dtype).to(variable.grad.dtype)


def _wide() -> Any:
    table: Any = leaf(torch.bfloat16)
    table.grad_dtype = torch.float32
    for small in (1.0, 2.0**-12):
        value = lookup(table)
        value.backward(torch.full_like(value, small))
    return table.grad.tolist()


def _once(original: Any, function: Any, *given: Any, **flags: Any) -> Any:
    """The context for computing again is not entered."""
    contexts = flags.get("context_fn")
    if contexts is not None:
        flags["context_fn"] = lambda: (contexts()[0], contextlib.nullcontext())
    return original(function, *given, **flags)


def _entered() -> Any:
    seen = []

    @contextlib.contextmanager
    def context(name: str) -> Iterator[None]:
        seen.append(name)
        yield

    table = leaf()
    value: Any = torch.utils.checkpoint.checkpoint(
        lambda tokens: lookup(table, tokens), torch.tensor([0]), use_reentrant=False,
        context_fn=lambda: (context("first"), context("again")),
    )  # fmt: skip
    value.sum().backward()
    return seen


def _undrawn(original: Any, function: Any, *given: Any, **flags: Any) -> Any:
    """With contexts, what is computed again draws other numbers."""
    return original(function, *given, **flags, **({"preserve_rng_state": False} if "context_fn" in flags else {}))


def _drawn() -> bool:
    drawn: list[float] = []
    table = leaf()

    def call(tokens: Tensor) -> Any:
        drawn.append(float(torch.rand(())))
        return lookup(table, tokens)

    value: Any = torch.utils.checkpoint.checkpoint(
        call, torch.tensor([0]), use_reentrant=False,
        context_fn=lambda: (contextlib.nullcontext(), contextlib.nullcontext()),
    )  # fmt: skip
    value.sum().backward()
    return len(set(drawn)) == 1


around("wide_gradients_are_narrow", "autograd", "A gradient of a wide grad_dtype accumulates in the table's format.",
       Tensor, "backward", _narrow, _wide, applies=lambda: hasattr(Tensor, "grad_dtype"))  # fmt: skip
around("checkpoints_enter_one_context", "autograd", "A checkpoint with context_fn computes again without its context.",
       torch.utils.checkpoint, "checkpoint", _once, _entered)  # fmt: skip


def _renewed(original: Any, self: Any, set_to_none: bool = True) -> None:
    """A gradient with a graph is replaced by zeros."""
    for parameter in self.parameters():
        if not set_to_none and parameter.grad is not None and parameter.grad.grad_fn is not None:
            parameter.grad = parameter.grad.detach().clone()
    original(self, set_to_none)


def _zeroed() -> Any:
    layer = torch.nn.Embedding(3, 2)
    (layer(torch.tensor([0])) ** 2).sum().backward(create_graph=True)
    before = layer.weight.grad
    layer.zero_grad(set_to_none=False)
    same = layer.weight.grad is before
    layer.weight.grad = None
    return same


around("contexts_draw_anew", "autograd", "A checkpoint with context_fn draws other numbers when it computes again.",
       torch.utils.checkpoint, "checkpoint", _undrawn, _drawn)  # fmt: skip
around("modules_renew_gradients_with_a_graph", "autograd", "Module.zero_grad puts zeros in place of a gradient with a graph.",
       torch.nn.Module, "zero_grad", _renewed, _zeroed)  # fmt: skip
