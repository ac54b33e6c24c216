"""What happens before a bag's call that is judged (histories), and how the derivative of one is taken (routes).

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

Tensor = torch.Tensor
#: ``call(indices, offsets, per_sample_weights)``
BagCall = Callable[..., Tensor]
#: Those three arguments.
Given = tuple[Tensor, "Tensor | None", "Tensor | None"]

BAG_HISTORIES: dict[str, Callable[..., None]] = {}
BAG_ROUTES: dict[str, Callable[..., dict[str, Any]]] = {}
#: How many times the upstream gradient arrives, where that is not once.
BAG_TIMES = {"retained": 2, "two_passes": 2, "two_calls": 2, "doubled": 2}

# -- histories: what happened before the call ----------------------------------------------------------------------

def _history(function: Callable[..., None]) -> Callable[..., None]:
    BAG_HISTORIES[function.__name__] = function
    return function


@_history
def fresh(leaf: Tensor, call: BagCall, given: Given) -> None:
    pass


@_history
def repeated(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(*given)


@_history
def weight_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        leaf.zero_()
        call(*given)
        leaf.copy_(kept)


@_history
def indices_changed(leaf: Tensor, call: BagCall, given: Given) -> None:
    kept = given[0].clone()
    given[0].zero_()
    call(*given)
    given[0].copy_(kept)


@_history
def other_shape(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(torch.zeros(3, 2, dtype=given[0].dtype))
    call(torch.zeros(1, 5, dtype=given[0].dtype))


@_history
def after_backward(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.enable_grad():
        out = call(*given)
        if out.requires_grad:
            out.sum().backward()


@_history
def after_error(leaf: Tensor, call: BagCall, given: Given) -> None:
    try:
        call(torch.full((1, 2), leaf.shape[0], dtype=given[0].dtype))
    except (IndexError, RuntimeError):
        pass


@_history
def after_empty(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(torch.zeros(0, 2, dtype=given[0].dtype))


@_history
def output_overwritten(leaf: Tensor, call: BagCall, given: Given) -> None:
    call(*given).detach().fill_(float("nan"))


@_history
def without_grad(leaf: Tensor, call: BagCall, given: Given) -> None:
    with torch.no_grad():
        call(*given)


# -- routes: how the derivative is taken ---------------------------------------------------------------------------


def _route(function: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    BAG_ROUTES[function.__name__] = function
    return function


@_route
def backward_call(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


@_route
def value(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    return {"value": call(*given)}


def learners(leaf: Tensor, given: Given) -> list[Tensor]:
    return [tensor for tensor in (leaf, given[2]) if tensor is not None and tensor.requires_grad]


def named(leaf: Tensor, given: Given, grads: Any) -> dict[str, Any]:
    return {
        "weight_grad" if tensor is leaf else "sample_grad": grad
        for tensor, grad in zip(learners(leaf, given), grads, strict=True)
    }


@_route
def autograd_grad(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    grads = torch.autograd.grad(out, learners(leaf, given), upstream)
    alone = leaf.grad is None and (given[2] is None or given[2].grad is None)
    return {"value": out, "grad_left_alone": alone, **named(leaf, given, grads)}


@_route
def create_graph(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    grads = torch.autograd.grad(out, learners(leaf, given), upstream, create_graph=True)
    return {"value": out, **named(leaf, given, grads)}


@_route
def weighted_sum(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    (out * upstream).sum().backward()
    return {"value": out}


@_route
def retained(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    out.backward(upstream, retain_graph=True)
    out.backward(upstream)
    return {"value": out}


@_route
def two_passes(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    call(*given).backward(upstream)
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


@_route
def two_calls(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    first, out = call(*given), call(*given)
    torch.autograd.backward((first, out), (upstream, upstream))
    return {"value": out}


@_route
def doubled(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    kept = out.detach().clone()
    out.mul_(2).backward(upstream)
    return {"value": kept}


@_route
def overwritten(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = call(*given)
    kept = out.detach().clone()
    out.detach().fill_(float("nan"))
    out.backward(upstream)
    return {"value": kept}


@_route
def hooked(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    calls: list[int] = []
    for tensor in learners(leaf, given):
        tensor.register_hook(lambda grad: calls.append(1))
    out = call(*given)
    out.backward(upstream)
    return {"value": out, "hook_calls": len(calls), "hooks": len(learners(leaf, given))}


@_route
def checkpointed(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    out = torch.utils.checkpoint.checkpoint(call, *given, use_reentrant=False)
    out.backward(upstream)
    return {"value": out}


@_route
def anomaly(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor) -> dict[str, Any]:
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        out = call(*given)
        out.backward(upstream)
    return {"value": out}
