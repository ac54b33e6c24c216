"""Further routes: the ways in which autograd is driven through a lookup.

Accumulation into a gradient that is already there, hooks of every kind, checkpoints, saved tensors that are packed,
threads, refusals.  Like those of `embcheck.families.lookup.programs` they import nothing but torch, and each returns the
observations that the laws of the family read.
"""

from __future__ import annotations

import copy
import pickle
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.core.registry import into
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor

Seen = dict[str, Any]
FURTHER: dict[str, Route] = {}
#: How many times the upstream gradient arrives on each route, where that is not once.
FURTHER_TIMES = {
    **dict.fromkeys(("preset_transposed", "zeroed_in_place", "forward_hook_doubles"), 2),
    **dict.fromkeys(("layer_hook_doubles", "node_hook_doubles", "through_double", "graph_kept"), 2),
    "checkpointed_with_two": 2,
    "inputs_listed": 2,
}


#: Registers a route.
further = into(FURTHER)


def layer_of(call: Call) -> Any:
    """The module that is called, or a module around a function that is."""
    if isinstance(call, torch.nn.Module):
        return call
    layer: Any = torch.nn.Module()
    layer.forward = call
    return layer


# -- accumulation into .grad -----------------------------------------------------------------------------------------


@further
def preset_zeros(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    preset = leaf.grad = torch.zeros_like(leaf)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": leaf.grad is preset}


@further
def preset_transposed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    (first,) = torch.autograd.grad(call(indices), leaf, upstream)
    preset = leaf.grad = first.to_dense().t().contiguous().t()
    strides = preset.stride()
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": leaf.grad is preset and preset.stride() == strides}


@further
def preset_strided(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    around = leaf.new_zeros(2 * leaf.shape[0], 2 * leaf.shape[1])
    preset = leaf.grad = around[::2, ::2]
    call(indices).backward(upstream)
    outside = around.clone()
    outside[::2, ::2] = 0
    return {"weight_grad": around[::2, ::2], "kept": leaf.grad is preset, "around_kept": not outside.any().item()}


@further
def preset_bucket(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    bucket = leaf.new_zeros(leaf.numel() + 5)
    preset = leaf.grad = bucket[2:-3].view(leaf.shape)
    call(indices).backward(upstream)
    found = bucket[2:-3].clone().view(leaf.shape)
    bucket[2:-3] = 0
    return {"weight_grad": found, "kept": leaf.grad is preset, "around_kept": not bucket.any().item()}


@further
def zeroed_in_place(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(torch.ones_like(upstream))
    optimizer, kept = torch.optim.SGD([leaf]), leaf.grad
    optimizer.zero_grad(set_to_none=False)
    call(indices).backward(upstream)
    call(indices).backward(upstream)
    same = leaf.grad is kept or leaf.grad is None or leaf.grad.is_sparse
    return {"weight_grad": leaf.grad, "kept": same}


@further
def micro_batches(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    for part, sent in zip(indices.tensor_split(3), upstream.tensor_split(3), strict=True):
        call(part).backward(sent)
    return {"weight_grad": leaf.grad}


@further
def parts_are_merged(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    total: Any = None
    for part, sent in zip(indices.tensor_split(2), upstream.tensor_split(2), strict=True):
        (grad,) = torch.autograd.grad(call(part), leaf, sent)
        merged = grad.coalesce() if grad.is_sparse else grad
        total = merged if total is None else total + merged
    leaf.grad = total
    return {"weight_grad": leaf.grad}


@further
def copied_gradient(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    (grad,) = torch.autograd.grad(call(indices), leaf, upstream)
    merged = grad.coalesce() if grad.is_sparse else grad
    for other in (merged.clone(), copy.deepcopy(merged), pickle.loads(pickle.dumps(merged))):
        values = other._values() if other.is_sparse else other
        # Byte by byte, for a copy that keeps strides of zero takes no other write.
        torch.empty(0, dtype=torch.uint8).set_(values.untyped_storage()).fill_(3)
    return {"weight_grad": merged}


@further
def token_by_token(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    leaf.grad = torch.zeros_like(leaf)
    each = upstream.reshape(indices.numel(), leaf.shape[1])
    for token, sent in zip(indices.reshape(-1).unbind(), each.unbind(), strict=True):
        call(token[None]).backward(sent[None])
    return {"weight_grad": leaf.grad}


@further
def then_dense(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(upstream)
    leaf.mul(0).sum().backward()
    return {"weight_grad": leaf.grad}


@further
def dense_first(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    leaf.mul(0).sum().backward()
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@further
def dense_beside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    torch.autograd.backward([call(indices), leaf.mul(0).sum()], [upstream, None])
    return {"weight_grad": leaf.grad}


@further
def graph_kept(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.backward(upstream, create_graph=True)
    value.backward(upstream, create_graph=True)
    found = leaf.grad
    leaf.grad = None
    return {"weight_grad": found}


# -- hooks -----------------------------------------------------------------------------------------------------------


@further
def post_accumulate(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    seen: list[Any] = []
    leaf.register_post_accumulate_grad_hook(lambda table: seen.append((table is leaf, table.grad)))
    call(indices).backward(upstream)
    return {"weight_grad": seen[0][1], "hook_calls": len(seen), "kept": seen[0][0] and leaf.grad is seen[0][1]}


@further
def post_accumulate_releases(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    seen: list[Any] = []

    def release(table: Tensor) -> None:
        seen.append(table.grad)
        table.grad = None

    handle = leaf.register_post_accumulate_grad_hook(release)
    call(indices).backward(upstream)
    handle.remove()
    return {"weight_grad": seen[0], "hook_calls": len(seen), "kept": leaf.grad is None}


@further
def layer_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer, order, sent = layer_of(call), [], []
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: order.append(f"before {args[0] is indices}")),
        layer.register_forward_hook(lambda layer, args, value: order.append(f"after {args[0] is indices}")),
        layer.register_full_backward_pre_hook(lambda layer, given: order.append("backward")),
        layer.register_full_backward_hook(lambda layer, to_input, given: sent.append(given[0].clone())),
    ]
    value = layer(indices)
    value.backward(upstream)
    for handle in handles:
        handle.remove()
    layer(indices)
    orderly = order == ["before True", "after True", "backward"]
    return {"weight_grad": leaf.grad, "hook_calls": len(sent), "hook_grad": sent[0], "kept": orderly}


@further
def layer_hook_doubles(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer = layer_of(call)
    handle = layer.register_full_backward_pre_hook(lambda layer, given: (given[0] * 2,))
    layer.eval()(indices).backward(upstream)
    handle.remove()
    return {"weight_grad": leaf.grad}


@further
def forward_hook_doubles(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer = layer_of(call)
    handle = layer.register_forward_hook(lambda layer, args, value: value * 2)
    layer.eval()(indices).backward(upstream)
    handle.remove()
    return {"weight_grad": leaf.grad}


@further
def forward_pre_hook_replaces(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer = layer_of(call)
    handle = layer.register_forward_pre_hook(lambda layer, args: (indices,))
    layer(indices * 0).backward(upstream)
    handle.remove()
    return {"weight_grad": leaf.grad}


@further
def retained_grad(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.retain_grad()
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "hook_calls": int(value.retains_grad), "hook_grad": value.grad}


@further
def node_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value, given, order = call(indices), [], []

    def before(grads: tuple[Tensor, ...]) -> None:
        order.append("before")
        given.append(grads[0].clone())

    value.grad_fn.register_prehook(before)  # type: ignore[union-attr]
    value.grad_fn.register_hook(lambda to_inputs, grads: order.append("after"))  # type: ignore[union-attr]
    value.backward(upstream)
    orderly = order == ["before", "after"]
    return {"weight_grad": leaf.grad, "hook_calls": len(given), "hook_grad": given[0], "kept": orderly}


@further
def node_hook_doubles(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.grad_fn.register_prehook(lambda grads: (grads[0] * 2,))  # type: ignore[union-attr]
    value.backward(upstream)
    return {"weight_grad": leaf.grad}


@further
def multi_grad_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    seen: list[Any] = []
    handle = torch.autograd.graph.register_multi_grad_hook([leaf], lambda grads: seen.append(grads[0]))
    call(indices).backward(upstream)
    handle.remove()
    return {"weight_grad": seen[0], "hook_calls": len(seen)}
