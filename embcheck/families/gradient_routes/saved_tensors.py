"""Further routes: checkpoints, packed tensors, threads, parts of a graph, backward passes that must raise, sparse gradients."""

import contextlib
import functools
import inspect
import pickle
from concurrent import futures
from typing import Any

import torch
import torch.fx
import torch.nn.utils._per_sample_grad
import torch.utils.checkpoint

from embcheck.core.registry import by_name
from embcheck.families.gradient_routes.checkpoints import further_checkpoints, reentrant_segments_go_back
from embcheck.families.gradient_routes.programs import Seen, alike, layer_of, raises
from embcheck.families.gradient_routes.small_graphs import asked_for_inputs, written_in_place
from embcheck.families.lookup.programs import Call, Rebuild, Route, Tensor, generator, with_gradient
from embcheck.families.tie_preservation.operations import stored


def checkpointed_reentrant(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What is given twice has a gradient of each use; the first output has none; a flag among tensors is given again.
    reason: Any = torch.zeros((), requires_grad=True)

    def rows_and_uses(tokens: Tensor, one: Tensor, double: bool, other: Tensor) -> tuple[Tensor, ...]:
        return tokens > 0, call(tokens), one + (2 if double else 1) * other

    with torch.random.fork_rng([leaf.device] if leaf.is_cuda else []):
        given = (indices, reason, True, reason)
        _, value, uses = torch.utils.checkpoint.checkpoint(rows_and_uses, *given, use_reentrant=True)
        torch.rand(3)
        before = generator().get_state()
        torch.autograd.backward([value, uses], [upstream, None])
        kept = torch.equal(before, generator().get_state())
    return {"value": value, "weight_grad": leaf.grad, "kept": kept and reason.grad.item() == 3}


class Reversed(torch.nn.Module):
    def forward(self, rows: Tensor) -> Tensor:
        return rows.flip(-1)


def checkpointed_with_one_twice(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Two segments, of which the first is computed again; one module reverses the rows and reverses them back.
    back = Reversed()
    chain = torch.nn.Sequential(layer_of(call), back, back, torch.nn.Identity())
    value = torch.utils.checkpoint.checkpoint_sequential(chain, 2, indices, use_reentrant=False)
    return with_gradient(leaf, value, upstream)


def dropped_in_checkpoint(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What is drawn in between is none of the checkpoint's business, and the backward pass leaves the generator alone.
    def rows_and_mask(tokens: Tensor, *others: Tensor) -> tuple[Tensor, Tensor]:
        rows = call(tokens)
        mask = torch.nn.functional.dropout(torch.ones_like(rows), 0.5)
        return rows * mask, mask

    with torch.random.fork_rng([leaf.device] if leaf.is_cuda else []):
        torch.manual_seed(7)
        value, mask = torch.utils.checkpoint.checkpoint(rows_and_mask, indices, use_reentrant=False)
        torch.rand(3)
        before = generator().get_state()
        value.backward(upstream, retain_graph=True)
        once, leaf.grad = leaf.grad, None
        value.backward(upstream)  # which recomputes once more
        kept = torch.equal(before, generator().get_state())
        found, leaf.grad = [once, leaf.grad], None
        for way in further_checkpoints(rows_and_mask, indices):
            torch.manual_seed(7)
            value, _ = way()
            torch.rand(3)
            value.backward(upstream)
            found.append(leaf.grad)
            leaf.grad = None
        twice = found[1]
        kept &= all(torch.equal(each.to_dense(), twice.to_dense()) for each in found)  # type: ignore[union-attr]
    return {"weight_grad": twice, "mask": mask.detach(), "kept": kept}


def saved_packed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Of two pairs of hooks the inner one packs; once it ends, by an error or without one, the outer one does.
    packed: dict[str, list[Tensor]] = {"outer": [], "inner": []}

    def packing(name: str) -> Any:
        def pack(tensor: Tensor) -> int:
            packed[name].append(tensor.clone())
            return len(packed[name]) - 1

        return torch.autograd.graph.saved_tensors_hooks(pack, lambda place: packed[name][place])

    with packing("outer"):
        with packing("inner"):
            value = call(indices)
        counts = [len(each) for each in packed.values()]
        with contextlib.suppress(ValueError), packing("inner"):
            raise ValueError
        call(indices)
    value.backward(upstream)
    counts += [len(each) for each in packed.values()]
    return {"value": value, "weight_grad": leaf.grad, "kept": counts == [0, counts[1], counts[1], counts[1]]}


def table_changed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value, kept = call(indices), leaf.detach().clone()
    with torch.no_grad():
        leaf.fill_(float("nan"))
    seen = with_gradient(leaf, value, upstream)
    with torch.no_grad():
        leaf.copy_(kept)
    return {**seen, "small_grads": written_in_place()}


def other_thread(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    with futures.ThreadPoolExecutor(1) as pool:
        pool.submit(value.backward, upstream).result()
    return {"value": value, "weight_grad": leaf.grad}


def backward_without_grad_mode(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    without_gradients: Any = torch.set_grad_enabled(False)
    backward = without_gradients(value.backward)  # whose calls alone are without gradients
    kept = torch.is_grad_enabled()
    backward(upstream)
    return {"value": value, "weight_grad": leaf.grad, "kept": kept and torch.is_grad_enabled()}


def after_inference(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.inference_mode():
        inferred = call(indices)
    seen = with_gradient(leaf, torch.inference_mode(False)(call)(indices), upstream)
    return {**seen, "kept": inferred.is_inference() and not inferred.requires_grad}


def inputs_listed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.zeros((), dtype=leaf.dtype, requires_grad=True)
    out = call(indices) + other
    (once,) = torch.autograd.grad(out, other, upstream, retain_graph=True)
    # A tied weight under both of its names.
    pair = [each.to_dense() for each in torch.autograd.grad(out, [leaf, leaf], upstream, retain_graph=True)]
    twice = alike(*pair)
    other.grad = torch.ones_like(other)
    out.backward(upstream, inputs=[leaf, other], retain_graph=True)
    due = 1 + once
    added = alike(other.grad, due)
    out.backward(upstream, inputs=[other, leaf], retain_graph=True)
    added = added and alike(other.grad, due + once)
    return {"weight_grad": leaf.grad, "kept": added and twice, **asked_for_inputs()}


def unused_beside(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    other = torch.ones(2, 3, dtype=leaf.dtype, requires_grad=True)
    grad, zeros, again = torch.autograd.grad(call(indices), [leaf, other, leaf], upstream, materialize_grads=True)
    parts = [(each._indices(), each._values()) if each.is_sparse else (each,) for each in (grad, again)]
    same = all(alike(*pair) for pair in zip(*parts, strict=True))
    alike_other = (zeros.shape, zeros.dtype) == (other.shape, other.dtype)
    refused = raises(lambda: torch.autograd.grad(call(indices), [leaf, other], upstream))
    return {"weight_grad": grad, "kept": same and alike_other and refused and not zeros.any().item()}


def per_sample(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = torch.nn.utils._per_sample_grad.call_for_per_sample_grads(call)(indices)
    value.backward(upstream)
    grads: Tensor = leaf.grad_sample  # type: ignore[attr-defined]
    return {"weight_grad": grads.sum(0), "kept": leaf.grad is None and len(grads) == len(indices)}


def upstream_is_kept(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    sent = upstream.clone()
    call(indices).backward(sent)
    found = leaf.grad.clone()  # type: ignore[union-attr]
    sent.fill_(float("nan"))
    own = torch.equal(leaf.grad.to_dense(), found.to_dense()) or bool(found.to_dense().isnan().any())  # type: ignore[union-attr]
    return {"weight_grad": found, "kept": own}


def lazily_negated(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # As the imaginary part of a conjugate is: its elements are negated when they are read.
    call(indices).backward(torch._neg_view(-upstream))
    return {"weight_grad": leaf.grad}


def deterministic(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    torch.use_deterministic_algorithms(True)
    try:
        return with_gradient(leaf, call(indices), upstream)
    finally:
        torch.use_deterministic_algorithms(False)


def symbolically_traced(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    traced = torch.fx.symbolic_trace(call if isinstance(call, torch.nn.Module) else lambda tokens: call(tokens))
    return with_gradient(leaf, traced(indices), upstream)


def through_double_backward(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # The derivative by the upstream gradient looks rows up of what the gradient is multiplied with.
    sent, other = upstream.clone().requires_grad_(), leaf.detach().clone().requires_grad_()
    (grad,) = torch.autograd.grad(call(indices), leaf, sent, create_graph=True)
    (rows,) = torch.autograd.grad(grad, sent, other, create_graph=True)
    rows.backward(upstream)
    return {"weight_grad": other.grad}


# -- what must raise -------------------------------------------------------------------------------------------------


def indices_mutated(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    tokens = indices.clone()
    value = call(tokens)
    tokens.add_(0)
    refused = raises(lambda: value.backward(upstream))
    if "Iterable" in str(inspect.signature(torch.autograd.graph.increment_version)):  # what a kernel of one's own wrote
        value = call(tokens)
        torch.autograd.graph.increment_version([leaf.detach().clone(), tokens])
        refused &= raises(lambda: value.backward(upstream))
    return {"refused": refused and leaf.grad is None}


def graph_freed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    value.backward(upstream)
    found = leaf.grad.clone()  # type: ignore[union-attr]
    return {"weight_grad": found, "refused": raises(lambda: value.backward(upstream))}


def frozen(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    leaf.requires_grad_(False)
    value = call(indices)
    refused = not value.requires_grad and value.grad_fn is None and raises(lambda: value.backward(upstream))
    return {"value": value, "refused": refused and leaf.grad is None}


def upstream_of_another_shape(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value = call(indices)
    longer = torch.cat([upstream, upstream], -1) if leaf.shape[1] else upstream[None]
    # Without an upstream gradient there has to be a single number.
    reduced = value.numel() == 1 or (raises(value.backward) and raises(lambda: torch.autograd.grad(value, leaf)))
    return {"refused": reduced and raises(lambda: value.backward(longer)) and leaf.grad is None}


def anomalous(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    bad = torch.full_like(upstream, float("nan"))
    with torch.autograd.set_detect_anomaly(True):
        value = call(indices)
        alarms = []
        for mode in (torch.autograd.detect_anomaly, functools.partial(torch.autograd.set_detect_anomaly, True)):
            with mode(check_nan=False):  # which ends before the last backward pass
                alarms.append(raises(lambda: torch.autograd.grad(value, leaf, bad, retain_graph=True)))
        return {"value": value, "alarmed": raises(lambda: value.backward(bad)), "passes": not any(alarms)}


def inference_value(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    @torch.inference_mode()
    def results() -> Any:
        yield call(indices)
        yield call(indices)  # the mode is that of the caller between two results, and inference again after

    _, value = results()
    return {"value": value.clone(), "refused": not value.requires_grad and raises(lambda: value.backward(upstream))}


# -- sparse gradients, which dense ones take the same way -------------------------------------------------------------


def both_coalesced(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What is there already, and what is added to it; at last what is added is not coalesced.
    handle = leaf.register_hook(lambda grad: grad.coalesce() if grad.is_sparse else grad)
    call(indices).backward(upstream)
    if leaf.grad is not None and leaf.grad.is_sparse:
        leaf.grad = leaf.grad.coalesce()
    call(indices).backward(upstream)
    handle.remove()
    call(indices).backward(upstream)
    return {"weight_grad": leaf.grad}


def saved_gradient(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    call(indices).backward(upstream)
    return {"weight_grad": pickle.loads(pickle.dumps(stored(leaf.grad, weights_only=True)))}


def checkpointed_in_segments(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # Two segments of five modules: the last one, which is not computed again, has the third that is left over.
    between = [torch.nn.Identity() for _ in range(3)]
    chain = torch.nn.Sequential(layer_of(call), *between, Reversed())
    value = torch.utils.checkpoint.checkpoint_sequential(chain, 2, indices, use_reentrant=False).flip(-1)
    return {**with_gradient(leaf, value, upstream), "kept": reentrant_segments_go_back()}


def checkpointed_under_autocast(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    # What is computed again is so under the autocast of the call, which a lookup does not heed.
    told, device = [], leaf.device.type

    def rows(tokens: Tensor, *others: Tensor) -> Tensor:
        told.append((torch.is_autocast_enabled(device), torch.get_autocast_dtype(device)))
        return call(tokens)

    learning = torch.zeros((), requires_grad=True)
    with torch.autocast(device, torch.float16):
        value = torch.utils.checkpoint.checkpoint(rows, indices, use_reentrant=False)
        again = torch.utils.checkpoint.checkpoint(rows, indices, learning, use_reentrant=True)
    for each in (value, again):
        found, leaf.grad = leaf.grad, None
        each.backward(upstream)
    kept = told == [(True, torch.float16)] * 4 and alike(again, value) and alike(found.to_dense(), leaf.grad.to_dense())  # type: ignore[union-attr]
    return {"value": value, "weight_grad": leaf.grad, "kept": kept}


ROUTES: dict[str, Route] = (
    by_name(checkpointed_reentrant, checkpointed_with_one_twice, dropped_in_checkpoint, saved_packed, table_changed)
    | by_name(other_thread, backward_without_grad_mode, after_inference, inputs_listed, unused_beside, per_sample)
    | by_name(upstream_is_kept, lazily_negated, deterministic, symbolically_traced, through_double_backward)
    | by_name(indices_mutated, graph_freed, frozen, upstream_of_another_shape, anomalous, inference_value)
    | by_name(both_coalesced, saved_gradient, checkpointed_in_segments, checkpointed_under_autocast)
)
