"""Further routes: what is saved between forward and backward, or computed again: checkpoints and packed tensors."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.families.gradient_routes.programs import Seen, further, layer_of
from embcheck.families.lookup.programs import Call, Rebuild, Tensor


@further
def checkpointed_reentrant(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    reason = torch.zeros((), requires_grad=True)
    value: Tensor = torch.utils.checkpoint.checkpoint(
        lambda tokens, _: call(tokens), indices, reason, use_reentrant=True
    )
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def checkpointed_with_two(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value: Tensor = torch.utils.checkpoint.checkpoint(
        lambda first, second: rebuild(first)(indices) + rebuild(second)(indices), leaf, leaf, use_reentrant=True
    )
    value.backward(upstream)
    return {"weight_grad": leaf.grad}


@further
def checkpointed_twice(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    checkpoint = torch.utils.checkpoint.checkpoint

    def inner(tokens: Tensor) -> Any:
        return checkpoint(call, tokens, use_reentrant=False)

    value = checkpoint(inner, indices, use_reentrant=False)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


def segmented(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, once: bool) -> Seen:
    """A chain in two parts, of which the first is computed again: the lookup, twice reversed, by one module or by two."""
    calls: list[int] = []

    def counted(tokens: Tensor) -> Any:
        calls.append(1)
        return call(tokens)

    class Reversed(torch.nn.Module):
        def forward(self, rows: Tensor) -> Tensor:
            return rows.flip(-1)

    back = Reversed()
    chain = torch.nn.Sequential(layer_of(counted), back, back if once else Reversed(), torch.nn.Identity())
    value = torch.utils.checkpoint.checkpoint_sequential(chain, 2, indices, use_reentrant=False)
    before = len(calls)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad, "kept": (before, len(calls)) == (1, 2)}


@further
def checkpointed_in_segments(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    return segmented(leaf, call, indices, upstream, False)


@further
def checkpointed_with_one_twice(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    return segmented(leaf, call, indices, upstream, True)


@further
def checkpointed_drawing(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    drawn: list[float] = []

    def draw(tokens: Tensor) -> Any:
        drawn.append(float(torch.rand(())))
        return call(tokens)

    with torch.random.fork_rng(devices=[]):
        value = torch.utils.checkpoint.checkpoint(draw, indices, use_reentrant=False)
        once = len(drawn) == 1
        torch.rand(3)
        value.backward(upstream)
        other: Any = torch.utils.checkpoint.checkpoint(draw, indices, use_reentrant=False)
    return {
        "value": value,
        "weight_grad": leaf.grad,
        "kept": once and drawn[0] == drawn[-2] != drawn[-1] and torch.equal(other.nan_to_num(), value.nan_to_num()),
    }


@further
def saved_packed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    packed: list[Tensor] = []

    def pack(tensor: Tensor) -> int:
        packed.append(tensor.clone())
        return len(packed) - 1

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda place: packed[place]):
        value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def saved_on_cpu(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.autograd.graph.save_on_cpu():
        value = call(indices)
    value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def mutation_allowed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    with torch.autograd.graph.allow_mutation_on_saved_tensors():
        tokens = indices.clone()
        value = call(tokens)
        tokens.zero_()
        value.backward(upstream)
    return {"value": value, "weight_grad": leaf.grad}


@further
def table_changed(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    value, kept = call(indices), leaf.detach().clone()
    with torch.no_grad():
        leaf.fill_(float("nan"))
    value.backward(upstream)
    with torch.no_grad():
        leaf.copy_(kept)
    return {"value": value, "weight_grad": leaf.grad}
