"""Further routes: the ways in which autograd is driven through a lookup.

Here are accumulation into a gradient that is already there, and hooks; the rest is in `saved_tensors`.
Each returns the observations that the laws of the family read.
"""

import contextlib
from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.core.registry import by_name
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor

Seen = dict[str, Any]
#: How many times the upstream gradient arrives on each route, where that is not once.
FURTHER_TIMES = {
    **dict.fromkeys(("preset_transposed", "zeroed_in_place", "graph_kept", "inputs_listed"), 2),
    **dict.fromkeys(("post_accumulate_hooks", "retained_grads"), 2),
    "both_coalesced": 3,
    **dict.fromkeys(("table_hooks", "node_hooks", "module_hooks", "layer_hooked"), 4),
}


def layer_of(call: Call) -> Any:
    """The module that is called, or a module around a function that is."""
    if isinstance(call, torch.nn.Module):
        return call
    layer: Any = torch.nn.Module()
    layer.forward = lambda input: call(input)
    return layer


def alike(a: Tensor, b: Tensor) -> bool:
    """Whether two tensors have the same numbers, NaN included."""
    return torch.equal(a.nan_to_num(), b.nan_to_num())


def raises(act: Any) -> bool:
    """Whether an act raises RuntimeError."""
    try:
        act()
    except RuntimeError:
        return True
    return False


# -- accumulation into .grad -----------------------------------------------------------------------------------------


def preset_zeros(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    preset = leaf.grad = torch.zeros_like(leaf)
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": leaf.grad is preset}


def preset_transposed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    (first,) = torch.autograd.grad(call(indices), leaf, upstream)
    preset = leaf.grad = first.to_dense().t().contiguous().t()
    strides = preset.stride()
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": leaf.grad is preset and preset.stride() == strides}


def preset_bucket(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    bucket = leaf.new_zeros(leaf.numel() + 5)
    preset = leaf.grad = bucket[2:-3].view(leaf.shape)
    call(indices).backward(upstream)
    found = bucket[2:-3].clone().view(leaf.shape)
    bucket[2:-3] = 0
    return {"weight_grad": found, "kept": leaf.grad is preset, "around_kept": not bucket.any().item()}


def zeroed_in_place(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(torch.ones_like(upstream))
    optimizer, kept = torch.optim.SGD([leaf]), leaf.grad
    optimizer.zero_grad(set_to_none=False)
    call(indices).backward(upstream)
    call(indices).backward(upstream)
    same = leaf.grad is kept or leaf.grad is None or leaf.grad.is_sparse
    return {"weight_grad": leaf.grad, "kept": same}


def micro_batches(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    for part, sent in zip(indices.tensor_split(3), upstream.tensor_split(3), strict=True):
        call(part).backward(sent)
    return {"weight_grad": leaf.grad}


def token_by_token(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    leaf.grad = torch.zeros_like(leaf)
    each = upstream.reshape(indices.numel(), leaf.shape[1])
    for token, sent in zip(indices.reshape(-1).unbind(), each.unbind(), strict=True):
        call(token[None]).backward(sent[None])
    return {"weight_grad": leaf.grad}


def then_dense(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(upstream)
    leaf.mul(0).sum().backward()
    return {"weight_grad": leaf.grad}


def dense_beside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    torch.autograd.backward([call(indices), leaf.mul(0).sum()], [upstream, None])
    return {"weight_grad": leaf.grad}


def graph_kept(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.backward(upstream, create_graph=True)
    value.backward(upstream, create_graph=True)
    found = leaf.grad
    leaf.grad = None
    return {"weight_grad": found}


# -- hooks -----------------------------------------------------------------------------------------------------------


def layer_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer, order, sent = layer_of(call), [], []
    handles = [
        layer.register_forward_pre_hook(lambda layer, args: args[0].clone()),
        layer.register_forward_pre_hook(lambda layer, args: order.append(f"before {args[0] is indices}")),
        layer.register_forward_hook(lambda layer, args, value: 2 * value),
        layer.register_forward_hook(lambda layer, args, kwargs, value: -value, with_kwargs=True),
        layer.register_forward_hook(lambda layer, args, value: -value),
        layer.register_forward_hook(lambda layer, args, value: order.append(f"after {args[0] is indices}")),
        layer.register_full_backward_pre_hook(lambda layer, given: order.append("backward")),
        layer.register_full_backward_pre_hook(lambda layer, given: (2 * given[0],)),
        layer.register_full_backward_hook(lambda layer, to_input, given: sent.append(given[0] / 2)),
    ]
    value = layer(indices)
    value.backward(upstream)
    for handle in handles:
        handle.remove()
    with contextlib.suppress(ValueError), layer.register_forward_hook(lambda *given: order.append("left")):
        raise ValueError
    layer(indices)
    orderly = order == ["before False", "after False", "backward"]
    return {"weight_grad": leaf.grad, "hook_calls": len(sent), "hook_grad": sent[0], "kept": orderly}


#: In which order the hooks of `several` are called.
ORDER = ["first", "second", "last"]


def several(register: Any, order: list[str]) -> list[Any]:
    """Registers four hooks of a gradient: two double it, one is removed before the last, which returns nothing; their handles."""

    def doubling(name: str) -> Any:
        def hook(grad: Tensor) -> Tensor:
            order.append(name)
            return grad * 2

        return hook

    handles = [register(doubling("first")), register(lambda grad: grad * float("nan")), register(doubling("second"))]
    handles.pop(1).remove()
    return [*handles, register(lambda grad: order.append("last"))]


class Crossing(torch.nn.Module):
    def forward(self, words: Tensor, places: Tensor) -> tuple[Tensor, Tensor]:
        return places * 1, words * 1


def hooks_replace_each() -> bool:
    """Whether hooks replace each of two inputs of a module, of its two results, and of their gradients."""
    layer: Any = Crossing()
    words, places = (torch.ones(2, requires_grad=True) for _ in range(2))
    layer.register_forward_pre_hook(lambda layer, given: (2 * given[0], 3 * given[1]))
    layer.register_forward_hook(lambda layer, given, found: (5 * found[0], 7 * found[1]))
    layer.register_full_backward_pre_hook(lambda layer, given: (11 * given[0], 13 * given[1]))
    layer.register_full_backward_hook(lambda layer, to_input, given: (17 * to_input[0], 19 * to_input[1]))
    of_places, of_words = layer(words, places)
    (of_places + of_words).sum().backward()
    found: Any = (of_words, of_places, words.grad, places.grad)
    due = (2 * 7, 3 * 5, 2 * 7 * 13 * 17, 3 * 5 * 11 * 19)
    return all(each.tolist() == [number] * 2 for each, number in zip(found, due, strict=True))


def multi_grad_hooked(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    seen: list[Any] = []
    idle = torch.zeros((), requires_grad=True)  # which takes no part in the first backward pass
    first: list[Any] = []
    register = torch.autograd.graph.register_multi_grad_hook
    handles = [register([leaf, idle], seen.append), register([idle, leaf, leaf * 1], first.append, mode="any")]
    call(indices).backward(upstream)
    calls, kept = len(seen), seen[0][1] is None and len(first) == 1
    (2 * idle + leaf.mul(0).sum()).backward()
    for handle in handles:
        handle.remove()
    (idle + leaf.mul(0).sum()).backward()  # which calls none of them
    kept = kept and len(seen) == 2 and seen[1][0] is not None and float(seen[1][1]) == 2
    kept = kept and len(first) == 2 and all(each is not None for each in first)
    return {"weight_grad": seen[0][0], "hook_calls": calls, "kept": kept}


def table_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    handles = several(leaf.register_hook, order)
    call(indices).backward(upstream)
    found, leaf.grad = leaf.grad, None
    for handle in handles:
        handle.remove()
    call(indices).backward(upstream)
    return {"weight_grad": found, "kept": order == ORDER}


def node_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    value = call(indices)

    def register(hook: Any) -> Any:
        def before(grads: tuple[Tensor, ...]) -> Any:
            made = hook(grads[0])
            return None if made is None else (made,)

        return value.grad_fn.register_prehook(before)  # type: ignore[union-attr]

    several(register, order)
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "kept": order == ORDER}


def post_accumulate_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    register: Any = leaf.register_post_accumulate_grad_hook
    first = register(lambda table: order.append("before" if table.grad is None else "first"))
    register(lambda table: order.append("never")).remove()
    second = register(lambda table: order.append("second"))
    call(indices).backward(upstream)
    first.remove()
    call(indices).backward(upstream)
    second.remove()
    found, leaf.grad = leaf.grad, None
    call(indices).backward(upstream)
    return {"weight_grad": found, "kept": order == ["first", "second", "second"]}


def retained_grads(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.retain_grad()
    value.register_hook(lambda grad: grad * 2)
    both = value * 1
    both.retain_grad()
    both.backward(upstream)
    kept = value.grad is not None and alike(value.grad, upstream * 2)
    return {"weight_grad": leaf.grad, "hook_calls": int(both.retains_grad), "hook_grad": both.grad, "kept": kept}


#: The routes of this module; all are in `space`.
ROUTES: dict[str, Route] = (
    by_name(preset_zeros, preset_transposed, preset_bucket, zeroed_in_place, micro_batches, token_by_token)
    | by_name(then_dense, dense_beside, graph_kept, layer_hooked, multi_grad_hooked, table_hooks, node_hooks)
    | by_name(post_accumulate_hooks, retained_grads)
)
