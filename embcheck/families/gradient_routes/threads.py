"""Further routes: threads, grad modes, partial graphs, and what autograd must refuse."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any

import torch
import torch.nn.utils._per_sample_grad

from embcheck.families.gradient_routes.programs import Seen, further
from embcheck.families.lookup.programs import Call, Rebuild, Tensor


def in_thread(work: Callable[[], Any]) -> Any:
    """What work returns, or raises, in another thread."""
    with futures.ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


@further
def other_thread(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    in_thread(lambda: value.backward(upstream))
    return {"value": value, "weight_grad": leaf.grad}


@further
def whole_in_thread(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    def work() -> Tensor:
        value = call(indices)
        value.backward(upstream)
        return value

    return {"value": in_thread(work), "weight_grad": leaf.grad}


@further
def one_thread_only(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.autograd.set_multithreading_enabled(False):
        call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@further
def backward_without_grad_mode(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    with torch.no_grad():
        value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def grad_mode_inside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.no_grad(), torch.enable_grad():
        value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def after_inference(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.inference_mode():
        inferred = call(indices)
    value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad, "kept": inferred.is_inference() and not inferred.requires_grad}


@further
def inputs_given(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.zeros((), dtype=leaf.dtype, requires_grad=True)
    (call(indices) + other).backward(upstream, inputs=[leaf])
    return {"weight_grad": leaf.grad, "kept": other.grad is None}


@further
def inputs_given_twice(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.zeros((), dtype=leaf.dtype, requires_grad=True)
    (call(indices) + other).backward(upstream, inputs=[leaf])
    first = leaf.grad
    (call(indices) + other).backward(upstream, retain_graph=True, inputs=leaf)
    in_place = leaf.grad is first or (first is not None and first.is_sparse)
    return {"weight_grad": leaf.grad, "kept": other.grad is None and in_place}


@further
def inputs_listed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.zeros((), dtype=leaf.dtype, requires_grad=True)
    out = call(indices) + other
    (once,) = torch.autograd.grad(out, other, upstream, retain_graph=True)
    other.grad = torch.ones_like(other)
    out.backward(upstream, inputs=[leaf, other], retain_graph=True)
    due = 1 + once
    added = torch.equal(other.grad.nan_to_num(), due.nan_to_num())
    out.backward(upstream, inputs=[other, leaf], retain_graph=True)
    added = added and torch.equal(other.grad.nan_to_num(), (due + once).nan_to_num())
    return {"weight_grad": leaf.grad, "kept": added}


@further
def leaf_listed_twice(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    sent = upstream.detach().clone().requires_grad_()
    first, second = torch.autograd.grad(call(indices), [leaf, leaf], sent, create_graph=True)
    same = torch.equal(first.detach().to_dense().nan_to_num(), second.detach().to_dense().nan_to_num())
    kept = same and first.grad_fn is not None and second.grad_fn is not None and leaf.grad is None
    return {"weight_grad": second, "kept": kept}


@further
def kept_graph_passed_often(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    loss = (call(indices) * upstream).sum()
    for kept in (True, True, True, False):
        loss.backward(retain_graph=kept)
    return {"weight_grad": leaf.grad}


@further
def others_given(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.zeros((), dtype=leaf.dtype, requires_grad=True)
    value = call(indices)
    (value + other).backward(upstream, inputs=[other], retain_graph=True)
    assert other.grad is not None
    once = other.grad.detach().clone()
    (value + other).backward(upstream, inputs=[other], create_graph=True)
    added = torch.equal(other.grad.detach().nan_to_num(), (once + once).nan_to_num())
    other.grad = None  # which keeps its own graph
    untouched = leaf.grad is None
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "kept": untouched and added}


@further
def unused_beside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.ones(2, 3, dtype=leaf.dtype, requires_grad=True)
    grad, zeros, again = torch.autograd.grad(call(indices), [leaf, other, leaf], upstream, materialize_grads=True)
    alike = torch.equal(grad.to_dense().nan_to_num(), again.to_dense().nan_to_num())
    return {"weight_grad": grad, "kept": alike and zeros.shape == other.shape and not zeros.any().item()}


@further
def detached_beside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    first, second = call(indices), call(indices).detach()
    (first + second).backward(upstream)
    return {"weight_grad": leaf.grad, "kept": not second.requires_grad and second.is_leaf}


@further
def second_unused(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    first, second = call(indices), call(indices)
    first.backward(upstream)
    return {"weight_grad": leaf.grad, "kept": second.requires_grad}


@further
def through_double(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    table = leaf + leaf
    rebuild(table)(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


@further
def per_sample(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = torch.nn.utils._per_sample_grad.call_for_per_sample_grads(call)(indices)
    value.backward(upstream)
    grads: Tensor = leaf.grad_sample  # type: ignore[attr-defined]
    return {"weight_grad": grads.sum(0), "kept": leaf.grad is None and len(grads) == len(indices)}


@further
def through_view(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.transpose(0, -1).backward(upstream.transpose(0, -1))
    return {"weight_grad": leaf.grad}


@further
def in_parts(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    torch.autograd.backward(value.unbind(-1), upstream.unbind(-1))
    return {"weight_grad": leaf.grad}


@further
def reduced_on_the_way(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # A sum over an axis sends its gradient back with stride 0 in that axis alone.
    value, alike = call(indices), True
    for axis in range(value.dim()) if upstream.numel() else ():
        sent = upstream.narrow(axis, 0, 1)
        (first,) = torch.autograd.grad(value.sum(axis, keepdim=True), leaf, sent, retain_graph=True)
        (second,) = torch.autograd.grad(value, leaf, sent.expand_as(upstream).contiguous(), retain_graph=True)
        alike = alike and torch.equal(first.to_dense().nan_to_num(), second.to_dense().nan_to_num())
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "kept": alike}


@further
def upstream_is_kept(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    sent = upstream.clone()
    call(indices).backward(sent)
    found = leaf.grad
    assert found is not None
    found = found.clone()
    sent.fill_(float("nan"))
    own = torch.equal(leaf.grad.to_dense(), found.to_dense()) or bool(found.to_dense().isnan().any())  # type: ignore[union-attr]
    return {"weight_grad": found, "kept": own}


# -- what must be refused ----------------------------------------------------------------------------------------------


@further
def indices_mutated(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    tokens = indices.clone()
    value = call(tokens)
    tokens.add_(0)
    return {"refused": raises(lambda: value.backward(upstream)) and leaf.grad is None}


@further
def graph_freed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.backward(upstream)
    found = leaf.grad
    assert found is not None
    found = found.clone()
    return {"weight_grad": found, "refused": raises(lambda: value.backward(upstream))}


@further
def unused_refused(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value, other = call(indices), torch.ones(2, 3, dtype=leaf.dtype, requires_grad=True)
    grad = torch.autograd.grad
    refused = [
        raises(lambda: grad(value, [other], upstream, retain_graph=True)),
        raises(lambda: grad(value, [leaf, other], upstream, retain_graph=True)),
        raises(lambda: value.backward(upstream, inputs=[])),
    ]
    found, nothing = grad(value, [leaf, other], upstream, allow_unused=True)
    return {"weight_grad": found, "refused": all(refused) and leaf.grad is None, "kept": nothing is None}


@further
def implicit_upstream_refused(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    pair = torch.stack([value, value])
    refused = raises(pair.backward) and raises(lambda: torch.autograd.grad(pair, leaf)) and leaf.grad is None
    value.backward(upstream)
    return {"weight_grad": leaf.grad, "refused": refused}


@further
def frozen(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    leaf.requires_grad_(False)
    value = call(indices)
    refused = not value.requires_grad and value.grad_fn is None and raises(lambda: value.backward(upstream))
    return {"value": value, "refused": refused and leaf.grad is None}


@further
def upstream_of_another_shape(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    longer = torch.cat([upstream, upstream], -1) if leaf.shape[1] else upstream[None]
    return {"refused": raises(lambda: value.backward(longer)) and leaf.grad is None}


@further
def anomalous(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.autograd.set_detect_anomaly(True):
        value = call(indices)
        return {"value": value, "alarmed": raises(lambda: value.backward(torch.full_like(upstream, float("nan"))))}


@further
def deterministic(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    torch.use_deterministic_algorithms(True)
    try:
        value = call(indices)
        value.backward(upstream)
    finally:
        torch.use_deterministic_algorithms(False)
    return {"value": value, "weight_grad": leaf.grad}


@further
def inference_value(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.inference_mode():
        value = call(indices)
    return {"value": value.clone(), "refused": not value.requires_grad and raises(lambda: value.backward(upstream))}


def raises(act: Any) -> bool:
    """Whether an act raises RuntimeError."""
    try:
        act()
    except RuntimeError:
        return True
    return False
