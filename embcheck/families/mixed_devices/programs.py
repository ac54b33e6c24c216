"""Programs: a lookup, bags or a projection whose tensors lie on different devices, some of them on meta.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Of tensors by their names and further flags: what comes out.  The arguments are those that it has, in this order.
APART: dict[str, Callable[..., Tensor]] = {}
_apart = into(APART)


def apart(
    call: Callable[..., Tensor], on_meta: tuple[str, ...], flags: dict[str, Any], **given: Tensor
) -> dict[str, Any]:
    placed = {name: tensor.to("meta") if name in on_meta else tensor for name, tensor in given.items()}
    upstream = placed.pop("upstream", None)
    if upstream is not None:
        placed["weight"].requires_grad_()
    value = call(flags, **placed)
    seen: dict[str, Any] = {"value": value.detach(), "table": placed["weight"].detach()}
    if upstream is not None:
        seen["gradient"] = torch.autograd.grad(value, placed["weight"], upstream)[0]
    return seen


@_apart
def lookup(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding(input, weight, padding_idx=flags["padding_idx"])


@_apart
def layer(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    table = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=flags["padding_idx"], device="meta")
    value: Tensor = torch.func.functional_call(table, {"weight": weight}, (input,))
    return value


@_apart
def indexed(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    return weight[input]


@_apart
def selected(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    return weight.index_select(0, input)


@_apart
def gathered(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    return weight.gather(0, input[:, None].expand(-1, weight.shape[1]))


@_apart
def product(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    """Of what is one-hot and the table."""
    return torch.nn.functional.one_hot(input, weight.shape[0]).to(weight.dtype) @ weight


@_apart
def batch(flags: dict[str, Any], input: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(input[:, None], weight, **flags)


@_apart
def bag(flags: dict[str, Any], input: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    return torch.nn.functional.embedding_bag(input, weight, offsets, **flags)


@_apart
def bag_layer(flags: dict[str, Any], input: Tensor, weight: Tensor, offsets: Tensor) -> Tensor:
    table = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], device="meta", **flags)
    value: Tensor = torch.func.functional_call(table, {"weight": weight}, (input, offsets))
    return value


@_apart
def weighted_batch(flags: dict[str, Any], input: Tensor, weight: Tensor, per_sample_weights: Tensor) -> Tensor:
    samples = per_sample_weights[:, None]
    return torch.nn.functional.embedding_bag(input[:, None], weight, per_sample_weights=samples, **flags)


@_apart
def weighted_bag(
    flags: dict[str, Any], input: Tensor, weight: Tensor, offsets: Tensor, per_sample_weights: Tensor
) -> Tensor:
    return torch.nn.functional.embedding_bag(input, weight, offsets, per_sample_weights=per_sample_weights, **flags)


@_apart
def linear(flags: dict[str, Any], hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.linear(hidden, weight)


@_apart
def linear_with_bias(flags: dict[str, Any], hidden: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return torch.nn.functional.linear(hidden, weight, bias)


@_apart
def head(flags: dict[str, Any], hidden: Tensor, weight: Tensor) -> Tensor:
    projection = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    value: Tensor = torch.func.functional_call(projection, {"weight": weight}, (hidden,))
    return value


@_apart
def projected(flags: dict[str, Any], hidden: Tensor, weight: Tensor) -> Tensor:
    return hidden @ weight.t()


@_apart
def projected_vector(flags: dict[str, Any], hidden: Tensor, weight: Tensor) -> Tensor:
    return (weight @ hidden[0])[None]


@_apart
def projected_in_batches(flags: dict[str, Any], hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(hidden[None], weight.t()[None])[0]
