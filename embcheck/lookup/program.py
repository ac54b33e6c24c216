"""Programs: what is executed for a lookup.  They import nothing but torch, for their source is what a
counterexample's script shows.

A *history* is what happened before the call that is judged; a *route* is how the derivative is taken.  Each route
returns the observations that the laws of the gradient speak of.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.registry import into

Tensor = torch.Tensor
Call = Callable[[Tensor], Tensor]
Rebuild = Callable[[Tensor], Call]
#: It may return what tells, after the call that is judged, whether what it holds stayed as it was.
History = Callable[[Tensor, Call, Tensor], "Callable[[], bool] | None"]
Route = Callable[..., dict[str, Any]]

HISTORIES: dict[str, History] = {}
ROUTES: dict[str, Route] = {}
#: How many times the upstream gradient arrives on each route, where that is not once.
TIMES = {"retained": 2, "two_passes": 2, "two_lookups": 2, "doubled": 2, "hook_doubles": 2}


def forward(
    build: Callable[..., tuple[Tensor, Call]],
    history: History,
    weight: Tensor,
    indices: Tensor,
    flags: dict[str, Any],
    requires_grad: bool,
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    if torch.is_grad_enabled():
        leaf.requires_grad_(requires_grad)
    held = history(leaf, call, indices)
    inference = leaf.is_inference() or indices.is_inference()
    before = (0, 0) if inference else (leaf._version, indices._version)
    around = surroundings()
    value = call(indices)
    after = (0, 0) if inference else (leaf._version, indices._version)
    return {
        "value": value,
        "versions": before == after,
        "surroundings": surroundings() == around,
        "plain": type(value) is torch.Tensor,
        "held": held is None or held(),
        "separate": value.numel() == 0
        or value.untyped_storage().data_ptr()
        not in (leaf.untyped_storage().data_ptr(), indices.untyped_storage().data_ptr()),
        "shares_table": leaf.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr(),
        "leaf": leaf,
    }


def backward(
    build: Callable[..., tuple[Tensor, Call]],
    history: History,
    route: Route,
    weight: Tensor,
    indices: Tensor,
    upstream: Tensor,
    flags: dict[str, Any],
) -> dict[str, Any]:
    leaf, call = build(weight, **flags)
    leaf.requires_grad_()
    held = history(leaf, call, indices)
    leaf.grad = None

    def rebuild(table: Tensor) -> Call:
        # A layer that is built draws its first weights, which is not the lookup's doing.
        drawn = torch.get_rng_state()
        again = build(table, **flags)[1]
        torch.set_rng_state(drawn)
        return again

    around = surroundings()
    seen = route(leaf, call, indices, upstream, rebuild)
    return {"leaf": leaf, "surroundings": surroundings() == around, "held": held is None or held(), **seen}


def surroundings() -> tuple[Any, ...]:
    """What a call must leave as it is: grad mode, default dtype, threads, determinism and the random numbers."""
    return (
        torch.is_grad_enabled(),
        torch.is_inference_mode_enabled(),
        torch.get_default_dtype(),
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        torch.get_rng_state().numpy().tobytes(),
    )


_history = into(HISTORIES)


_route = into(ROUTES)


# -- histories ---------------------------------------------------------------------------------------------------


@_history
def fresh(leaf: Tensor, call: Call, indices: Tensor) -> None:
    pass


@_history
def repeated(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices)


@_history
def weight_changed(leaf: Tensor, call: Call, indices: Tensor) -> None:
    with torch.no_grad():
        kept = leaf.clone()
        leaf.zero_()
        call(indices)
        leaf.copy_(kept)


@_history
def indices_changed(leaf: Tensor, call: Call, indices: Tensor) -> None:
    kept = indices.clone()
    indices.zero_()
    call(indices)
    indices.copy_(kept)


@_history
def other_shape(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices.reshape(-1)[:1])
    call(torch.zeros(2, 3, dtype=indices.dtype))


@_history
def other_order(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices.flip(0) if indices.dim() else indices)


@_history
def other_table(leaf: Tensor, call: Call, indices: Tensor) -> None:
    other = torch.nn.Embedding(leaf.shape[0] + 1, leaf.shape[1] + 2, dtype=leaf.dtype)
    other(indices).sum().backward() if torch.is_grad_enabled() else other(indices)


@_history
def without_grad(leaf: Tensor, call: Call, indices: Tensor) -> None:
    with torch.no_grad():
        call(indices)


@_history
def after_backward(leaf: Tensor, call: Call, indices: Tensor) -> None:
    with torch.enable_grad():
        value = call(indices)
        if value.requires_grad:
            value.sum().backward()


@_history
def after_empty(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices.new_empty(0))


@_history
def after_error(leaf: Tensor, call: Call, indices: Tensor) -> None:
    try:
        call(torch.full((2,), leaf.shape[0], dtype=indices.dtype))
    except (IndexError, RuntimeError):
        pass


@_history
def output_overwritten(leaf: Tensor, call: Call, indices: Tensor) -> None:
    call(indices).detach().fill_(float("nan"))


# -- routes ------------------------------------------------------------------------------------------------------


@_route
def backward_call(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@_route
def autograd_grad(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    (grad,) = torch.autograd.grad(call(indices), leaf, upstream)
    own = grad.is_sparse or grad.numel() == 0 or grad.data_ptr() != upstream.data_ptr()
    return {"weight_grad": grad, "grad_left_alone": leaf.grad is None, "separate": own}


@_route
def weighted_sum(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    (call(indices) * upstream).sum().backward()
    return {"weight_grad": leaf.grad}


@_route
def retained(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    value.backward(upstream, retain_graph=True)
    value.backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def two_passes(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(indices).backward(upstream)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def two_lookups(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    first, second = call(indices), call(indices)
    torch.autograd.backward((first, second), (upstream, upstream))
    return {"weight_grad": leaf.grad}


@_route
def after_zero_grad(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(indices).backward(upstream)
    torch.optim.SGD([leaf]).zero_grad(set_to_none=True)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def doubled(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(indices).mul_(2).backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def overwritten(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    value.detach().fill_(float("nan"))
    value.backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def value_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = call(indices)
    seen: list[Tensor] = []
    handle = value.register_hook(lambda grad: seen.append(grad.clone()))
    value.backward(upstream)
    handle.remove()
    return {"weight_grad": leaf.grad, "hook_calls": len(seen), "hook_grad": seen[0]}


@_route
def hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    seen: list[Tensor] = []
    leaf.register_hook(lambda grad: seen.append(grad))
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "hook_calls": len(seen)}


@_route
def hook_doubles(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    leaf.register_hook(lambda grad: grad * 2)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def create_graph(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    (grad,) = torch.autograd.grad(call(indices), leaf, upstream, create_graph=True)
    return {"weight_grad": grad}


@_route
def double_backward(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    upstream = upstream.detach().clone().requires_grad_()
    probe = leaf.detach().clone()
    (grad,) = torch.autograd.grad(call(indices), leaf, upstream, create_graph=True)
    (grad * probe).sum().backward() if not grad.is_sparse else grad.backward(probe)
    return {"weight_grad": grad, "upstream_grad": upstream.grad}


@_route
def checkpointed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = torch.utils.checkpoint.checkpoint(call, indices, use_reentrant=False)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@_route
def anomaly(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    with torch.autograd.set_detect_anomaly(True, check_nan=False):
        call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@_route
def forward_mode(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    tangent = leaf.detach().clone()
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(leaf, tangent)
        value = torch.autograd.forward_ad.unpack_dual(rebuild(dual)(indices))
        return {"value": value.primal, "tangent": value.tangent}


@_route
def vjp(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value, pull = torch.func.vjp(lambda table: rebuild(table)(indices), leaf.detach())  # type: ignore[misc]
    (grad,) = pull(upstream)
    return {"value": value, "weight_grad": grad}


@_route
def batched(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    value = torch.vmap(call)(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}
