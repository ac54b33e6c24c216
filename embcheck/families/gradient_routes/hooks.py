"""Further routes: several hooks of one kind, which come in order, each with what the one before returned, until removed.

Of every kind there are two that double, one that is removed before it is called and one that returns nothing.
"""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.gradient_routes.programs import FURTHER_TIMES, Seen, further, layer_of
from embcheck.families.lookup.programs import Call, Rebuild, Tensor

ORDER = ["first", "second", "last"]


def several(register: Any, order: list[str]) -> list[Any]:
    """Registers four hooks of a gradient and removes one; the handles of the others."""

    def doubling(name: str) -> Any:
        def hook(grad: Tensor) -> Tensor:
            order.append(name)
            return grad * 2

        return hook

    handles = [register(doubling("first")), register(doubling("second")), register(lambda grad: grad * float("nan"))]
    handles += [register(lambda grad: order.append("last"))]
    handles.pop(2).remove()
    return handles


@further
def table_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    handles = several(leaf.register_hook, order)
    call(indices).backward(upstream)
    found, leaf.grad = leaf.grad, None
    for handle in handles:
        handle.remove()
    call(indices).backward(upstream)
    return {"weight_grad": found, "kept": order == ORDER}


@further
def hooks_in_every_pass(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    several(leaf.register_hook, order)
    for _ in range(2):
        call(indices).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": order == ORDER * 2}


@further
def value_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    value = call(indices)
    several(value.register_hook, order)
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "kept": order == ORDER}


@further
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


@further
def post_accumulate_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    order: list[str] = []
    register: Any = leaf.register_post_accumulate_grad_hook
    first = register(lambda table: order.append("first"))
    register(lambda table: order.append("never")).remove()
    second = register(lambda table: order.append("second"))
    call(indices).backward(upstream)
    first.remove()
    call(indices).backward(upstream)
    second.remove()
    found, leaf.grad = leaf.grad, None
    call(indices).backward(upstream)
    return {"weight_grad": found, "kept": order == ["first", "second", "second"]}


@further
def layer_hooks(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer, order = layer_of(call), []
    handles = []
    for name in ("first", "second"):
        handles += [
            layer.register_forward_pre_hook(lambda layer, given, name=name: order.append(f"{name} before")),
            layer.register_forward_hook(lambda layer, given, value, name=name: order.append(f"{name} after")),
            layer.register_full_backward_pre_hook(lambda layer, sent: (sent[0] * 2,)),
        ]
    layer.register_forward_hook(lambda layer, given, value: value * float("nan")).remove()
    layer.register_full_backward_pre_hook(lambda layer, sent: (sent[0] * float("nan"),)).remove()
    layer(indices).backward(upstream)
    for handle in handles:
        handle.remove()
    layer(indices)
    return {"weight_grad": leaf.grad, "kept": order == ["first before", "second before", "first after", "second after"]}


@further
def layer_hooks_in_front(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    layer, order, due, handles = layer_of(call), [], [], []
    kinds = {
        "before": layer.register_forward_pre_hook,
        "after": layer.register_forward_hook,
        "back": layer.register_full_backward_pre_hook,
    }
    for kind, register in kinds.items():
        line: list[str] = []
        for name, front in zip("abcdef", (False, True, True, False, True, True), strict=True):
            word = f"{name} {kind}"
            handles.append(register(lambda *given, word=word: order.append(word), prepend=front))
            line = [word, *line] if front else [*line, word]
        handles.pop(-2).remove()
        due += [word for word in line if word != f"e {kind}"]
    layer(indices).backward(upstream)
    for handle in handles:
        handle.remove()
    layer(indices)
    return {"weight_grad": leaf.grad, "kept": order == due}


@further
def retained_grads(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.retain_grad()
    value.register_hook(lambda grad: grad * 2)
    both = value * 1
    both.retain_grad()
    both.backward(upstream)
    kept = value.grad is not None and torch.equal(value.grad.nan_to_num(), (upstream * 2).nan_to_num())
    return {"weight_grad": leaf.grad, "hook_calls": int(both.retains_grad), "hook_grad": both.grad, "kept": kept}


FURTHER_TIMES |= dict.fromkeys(("table_hooks", "value_hooks", "node_hooks", "layer_hooks"), 4)
FURTHER_TIMES |= dict.fromkeys(("post_accumulate_hooks", "retained_grads", "inputs_given_twice"), 2)
FURTHER_TIMES |= {"kept_graph_passed_often": 4, "hooks_in_every_pass": 8}
