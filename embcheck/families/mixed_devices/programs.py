"""Programs: a lookup, bags or a projection whose tensors lie on different devices, some of them on meta.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: Of flags and tensors by their names: the output.
Call = Callable[..., Tensor]


def apart(call: Call, on_meta: tuple[str, ...], flags: dict[str, Any], **given: Tensor) -> dict[str, Any]:
    placed = {name: tensor.to("meta") if name in on_meta else tensor for name, tensor in given.items()}
    upstream = placed.pop("upstream", None)
    if upstream is not None:
        placed["weight"].requires_grad_()
    value = call(**flags, **placed)
    seen: dict[str, Any] = {"value": value.detach(), "table": placed["weight"].detach()}
    if upstream is not None:
        seen["gradient"] = torch.autograd.grad(value, placed["weight"], upstream)[0]
    return seen


def lookup(input: Tensor, weight: Tensor, padding_idx: int | None) -> Tensor:
    return torch.nn.functional.embedding(input, weight, padding_idx)


def layer(input: Tensor, weight: Tensor, padding_idx: int | None) -> Tensor:
    table = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx, device="meta")
    value: Tensor = torch.func.functional_call(table, {"weight": weight}, (input,))
    return value


def indexed(input: Tensor, weight: Tensor) -> Tensor:
    return weight[input]


def selected(input: Tensor, weight: Tensor) -> Tensor:
    return weight.index_select(0, input)


def gathered(input: Tensor, weight: Tensor) -> Tensor:
    return weight.gather(0, input[:, None].expand(-1, weight.shape[1]))


def product(input: Tensor, weight: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(input, weight.shape[0]).to(weight.dtype) @ weight


def batch(input: Tensor, weight: Tensor, per_sample_weights: Tensor | None = None, **flags: Any) -> Tensor:
    samples = None if per_sample_weights is None else per_sample_weights[:, None]
    return torch.nn.functional.embedding_bag(input[:, None], weight, per_sample_weights=samples, **flags)


def bag(input: Tensor, weight: Tensor, offsets: Tensor, **flags: Any) -> Tensor:
    return torch.nn.functional.embedding_bag(input, weight, offsets, **flags)


def bag_layer(input: Tensor, weight: Tensor, offsets: Tensor, **flags: Any) -> Tensor:
    table = torch.nn.EmbeddingBag(weight.shape[0], weight.shape[1], device="meta", **flags)
    value: Tensor = torch.func.functional_call(table, {"weight": weight}, (input, offsets))
    return value


def linear(hidden: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return torch.nn.functional.linear(hidden, weight, bias)


def head(hidden: Tensor, weight: Tensor) -> Tensor:
    projection = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    value: Tensor = torch.func.functional_call(projection, {"weight": weight}, (hidden,))
    return value


def projected(hidden: Tensor, weight: Tensor) -> Tensor:
    return hidden @ weight.t()


def projected_vector(hidden: Tensor, weight: Tensor) -> Tensor:
    return (weight @ hidden[0])[None]


def projected_in_batches(hidden: Tensor, weight: Tensor) -> Tensor:
    return torch.bmm(hidden[None], weight.t()[None])[0]


CALLS: dict[str, Call] = {
    **{call.__name__: call for call in (lookup, layer, indexed, selected, gathered, product, batch, bag, bag_layer)},
    "weighted_batch": batch,
    "weighted_bag": bag,
    "linear": linear,
    "linear_with_bias": linear,
    **{call.__name__: call for call in (head, projected, projected_vector, projected_in_batches)},
}
