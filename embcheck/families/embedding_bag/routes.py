"""How the derivative of a bag is taken: the routes."""

from collections.abc import Callable
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.core.registry import by_name

Tensor = torch.Tensor
#: ``call(indices, offsets, per_sample_weights)``
BagCall = Callable[..., Tensor]
#: Those three arguments.
Given = tuple[Tensor, "Tensor | None", "Tensor | None"]
Rebuild = Callable[[Tensor], BagCall]

#: How many times the upstream gradient arrives, where that is not once.
BAG_TIMES = {"two_passes": 2}
#: Routes that build the bag anew on another table, which a module's parameter would cut from its graph.
REBUILT = frozenset({"vjp", "forward_mode", "tables_batched"})
#: Routes under torch.vmap, whose first sample is nothing: what it is given is zero.
BATCHED = frozenset({"batched", "tables_batched"})


def backward_call(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


def value(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    return {"value": call(*given)}


def learners(leaf: Tensor, given: Given) -> list[Tensor]:
    return [tensor for tensor in (leaf, given[2]) if tensor is not None and tensor.requires_grad]


def named(leaf: Tensor, given: Given, grads: Any) -> dict[str, Any]:
    return {
        "weight_grad" if tensor is leaf else "sample_grad": grad
        for tensor, grad in zip(learners(leaf, given), grads, strict=True)
    }


def autograd_grad(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    out = call(*given)
    grads = torch.autograd.grad(out, learners(leaf, given), upstream)
    alone = leaf.grad is None and (given[2] is None or given[2].grad is None)
    return {"value": out, "grad_left_alone": alone, **named(leaf, given, grads)}


def two_passes(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    call(*given).backward(upstream)
    out = call(*given)
    out.backward(upstream)
    return {"value": out}


def hooked(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    calls: list[int] = []
    for tensor in learners(leaf, given):
        tensor.register_hook(lambda grad: calls.append(1))
    out = call(*given)
    out.backward(upstream)
    return {"value": out, "hook_calls": len(calls)}


def checkpointed(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    out = torch.utils.checkpoint.checkpoint(call, *given, use_reentrant=False)
    out.backward(upstream)
    return {"value": out}


def value_hooked(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    seen: list[Tensor] = []
    out = call(*given)
    out.register_hook(lambda grad: seen.append(grad.clone()))
    out.backward(upstream)
    return {"value": out, "hook_calls": len(seen), "hook_grad": seen[0]}


def batched(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    out = torch.vmap(lambda tokens: call(tokens, *given[1:]))(torch.stack((given[0], given[0])))
    out.backward(torch.stack((upstream, torch.zeros_like(upstream))))
    return {"value": out[0], "batched": out[1]}


def tables_batched(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    both = torch.stack((torch.zeros_like(leaf), leaf))
    out = torch.vmap(lambda table: rebuild(table)(*given))(both)
    out.backward(torch.stack((torch.zeros_like(upstream), upstream)))
    return {"value": out[1]}


def pure(leaf: Tensor, given: Given, rebuild: Rebuild) -> tuple[Callable[..., Tensor], tuple[Tensor, ...]]:
    learned = learners(leaf, given)

    def call(*tensors: Tensor) -> Tensor:
        table = tensors[0] if learned[0] is leaf else leaf
        samples = tensors[-1] if learned[-1] is not leaf else given[2]
        return rebuild(table)(given[0], given[1], samples)

    return call, tuple(tensor.detach() for tensor in learned)


def vjp(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    function, arguments = pure(leaf, given, rebuild)
    out, pull = torch.func.vjp(function, *arguments)  # type: ignore[misc]
    return {"value": out, **named(leaf, given, pull(upstream))}


# -- derivatives of derivatives: refused as not implemented, or else right -----------------------------------------


def unless_missing(take: Callable[[], Tensor | None]) -> tuple[bool, Tensor | None]:
    try:
        return False, take()
    except (NotImplementedError, RuntimeError) as error:
        if isinstance(error, NotImplementedError) or "not implemented" in str(error):
            return True, None
        raise


def double_backward(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    sent = upstream.detach().clone().requires_grad_()
    out = call(*given)
    grads = torch.autograd.grad(out, learners(leaf, given), sent, create_graph=True)
    probes = [tensor.detach().clone() for tensor in learners(leaf, given)]
    seen = {"value": out, **named(leaf, given, [grad.detach() for grad in grads])}
    kinds = ("table" if tensor is leaf else "samples" for tensor in learners(leaf, given))
    for kind, grad, probe in zip(kinds, grads, probes, strict=True):
        dense = grad.to_dense() if grad.is_sparse else grad
        take = lambda dense=dense, probe=probe: torch.autograd.grad(dense, sent, probe, retain_graph=True)[0]  # noqa: E731
        seen[f"{kind}_missing"], seen[f"{kind}_twice"] = unless_missing(take)
    return seen


def forward_mode(leaf: Tensor, call: BagCall, given: Given, upstream: Tensor, rebuild: Rebuild) -> dict[str, Any]:
    function, arguments = pure(leaf, given, rebuild)
    arguments = tuple(primal.clone() for primal in arguments)  # tangents are written to memory like theirs
    tangents = tuple(primal.clone() for primal in arguments)
    missing, tangent = unless_missing(lambda: torch.func.jvp(function, arguments, tangents)[1])
    return {"value": function(*arguments), "tangent_missing": missing, "tangent": tangent}


BAG_ROUTES: dict[str, Callable[..., dict[str, Any]]] = by_name(
    backward_call, value, autograd_grad, two_passes, hooked, checkpointed, value_hooked, batched
) | by_name(tables_batched, vjp, double_backward, forward_mode)
