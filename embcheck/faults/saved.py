"""Faults of what autograd saves: checkpoints, saved tensors, versions, frozen tables, gradients that are zeroed."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.faults.driven import leaf, lookup
from embcheck.faults.entry import Wrong, embedding, entry
from embcheck.faults.kernels import Tensor

half, double = torch.float16, torch.float64
graph = torch.autograd.graph
checkpoints = torch.utils.checkpoint


def _checkpointed(change: Callable[[Any, bool], Any]) -> Callable[[Wrong], Wrong]:
    def wrong(original: Wrong) -> Wrong:
        def checkpoint(function: Any, *given: Any, use_reentrant: Any = None, **flags: Any) -> Any:
            return change(original(function, *given, use_reentrant=use_reentrant, **flags), use_reentrant)

        return checkpoint

    return wrong


def checkpointed(reentrant: bool, depth: int = 1) -> float:
    """The gradient of row 0 through a checkpoint."""
    weight, dummy = leaf(), torch.zeros((), requires_grad=True)
    call: Any = lambda tokens, _: lookup(weight, tokens)  # noqa: E731
    for _ in range(depth):
        inner = call
        call = lambda tokens, d, inner=inner: checkpoints.checkpoint(inner, tokens, d, use_reentrant=reentrant)  # noqa: E731
    call(torch.tensor([0]), dummy).sum().backward()
    return 0.0 if weight.grad is None else float(weight.grad[0, 0])


entry(
    "reentrant_checkpoint_doubles",
    "autograd",
    "A reentrant checkpoint doubles what passes through it.",
    checkpoints,
    "checkpoint",
    _checkpointed(lambda out, reentrant: out * 2 if reentrant else out),
    lambda: checkpointed(True) != 1.0,
)


def _nested(original: Wrong) -> Wrong:
    level = [0]

    def checkpoint(function: Any, *given: Any, **flags: Any) -> Any:
        level[0] += 1
        try:
            out = original(function, *given, **flags)
        finally:
            level[0] -= 1
        return out.detach() + out * 0 if level[0] and isinstance(out, Tensor) else out

    return checkpoint


entry(
    "nested_checkpoint_cuts_the_graph",
    "autograd",
    "A checkpoint within a checkpoint passes no gradient.",
    checkpoints,
    "checkpoint",
    _nested,
    lambda: checkpointed(False, 2) != 1.0,
)


def _unpacked_wrong(original: Wrong) -> Wrong:
    def hooks(pack: Any, unpack: Any) -> Any:
        return original(
            pack, lambda kept: (lambda x: x.flip(0) if x.dim() == 1 and not x.is_floating_point() else x)(unpack(kept))
        )

    return hooks


def packed_gradient() -> float:
    """The gradient of row 1 with saved tensors packed."""
    weight = leaf()
    with graph.saved_tensors_hooks(lambda x: x, lambda x: x):
        value = lookup(weight, [0, 1])
    value.backward(torch.tensor([[1.0, 1.0], [2.0, 2.0]]))
    return 0.0 if weight.grad is None else float(weight.grad[1, 0])


entry(
    "unpacked_indices_in_reverse",
    "autograd",
    "saved_tensors_hooks unpacks indices of one axis in reverse.",
    graph,
    "saved_tensors_hooks",
    _unpacked_wrong,
    lambda: packed_gradient() != 2.0,
)


def _forgetful(original: Wrong) -> Wrong:
    @contextmanager
    def save_on_cpu(*given: Any, **flags: Any) -> Any:
        with graph.saved_tensors_hooks(lambda x: x, lambda x: x.clone().zero_() if x.dtype == torch.int32 else x):
            yield

    return save_on_cpu


def saved_gradient() -> float:
    """The gradient of row 1 with int32 indices saved on the CPU."""
    weight = leaf()
    with graph.save_on_cpu():
        value = lookup(weight, torch.tensor([1], dtype=torch.int32))
    value.sum().backward()
    return 0.0 if weight.grad is None else float(weight.grad[1, 0])


entry(
    "save_on_cpu_forgets_int32",
    "autograd",
    "save_on_cpu gives int32 indices back as zeros.",
    graph,
    "save_on_cpu",
    _forgetful,
    lambda: saved_gradient() != 1.0,
)


def mutation_raises() -> bool:
    """Whether indices that were changed are refused."""
    tokens = torch.tensor([0, 1])
    value = lookup(leaf(), tokens).sum()
    tokens.add_(0)
    try:
        value.backward()
    except RuntimeError:
        return True
    return False


embedding(
    "changed_indices_are_not_noticed",
    "autograd",
    "The indices are copied, so that backward misses that they were changed.",
    lambda original, i, w, **f: original(i.clone() if w.requires_grad and i.dim() == 1 else i, w, **f),
    lambda: not mutation_raises(),
)


def unfrozen() -> bool:
    """Whether a lookup in a frozen table requires grad."""
    return lookup(torch.ones(3, 2, dtype=double), [0]).requires_grad


embedding(
    "frozen_float64_is_thawed",
    "autograd",
    "A lookup in a frozen float64 table requires grad.",
    lambda original, i, w, **f: (
        original(i, w, **f).requires_grad_()
        if w.dtype == double
        and not w.requires_grad
        and torch.is_grad_enabled()
        and not torch.is_inference_mode_enabled()
        else original(i, w, **f)
    ),
    unfrozen,
)


def _renewing(original: Wrong) -> Wrong:
    def zero_grad(self: Any, set_to_none: bool = True) -> None:
        original(self, set_to_none)
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not p.grad.is_sparse:
                    p.grad = torch.zeros_like(p.grad)

    return zero_grad


def zeroed_gradient_is_new() -> bool:
    """Whether zero_grad(set_to_none=False) replaces the gradient."""
    weight = leaf()
    weight.grad = torch.ones(3, 2)
    kept = weight.grad
    torch.optim.SGD([weight]).zero_grad(set_to_none=False)
    return weight.grad is not kept


entry(
    "zero_grad_renews",
    "autograd",
    "zero_grad(set_to_none=False) replaces the gradient by a new one.",
    torch.optim.Optimizer,
    "zero_grad",
    _renewing,
    zeroed_gradient_is_new,
)


def _ones_for_unused(original: Wrong) -> Wrong:
    def grad(*given: Any, materialize_grads: bool = False, **flags: Any) -> Any:
        found = original(*given, materialize_grads=materialize_grads, **flags)
        if not materialize_grads:
            return found
        return tuple(x if x.is_sparse or x.any() else torch.ones_like(x) for x in found)

    return grad


def materialized() -> float:
    """The gradient that is made for an input that was not used."""
    weight, unused = leaf(), torch.ones(1, requires_grad=True)
    return float(torch.autograd.grad(lookup(weight).sum(), [weight, unused], materialize_grads=True)[1])


entry(
    "unused_gradient_is_ones",
    "autograd",
    "materialize_grads makes ones.",
    torch.autograd,
    "grad",
    _ones_for_unused,
    lambda: materialized() != 0.0,
)
