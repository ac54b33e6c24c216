"""Programs: a lookup, bags or a projection whose tensors lie on different devices, some of them on meta."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embcheck.core.registry import named

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


def batch(input: Tensor, weight: Tensor, per_sample_weights: Tensor | None = None, **flags: Any) -> Tensor:
    samples = None if per_sample_weights is None else per_sample_weights[:, None]
    return F.embedding_bag(input[:, None], weight, per_sample_weights=samples, **flags)


def bag(input: Tensor, weight: Tensor, offsets: Tensor, **flags: Any) -> Tensor:
    return F.embedding_bag(input, weight, offsets, **flags)


CALLS: dict[str, Call] = named(
    {
        "lookup": lambda input, weight, padding_idx: F.embedding(input, weight, padding_idx),
        "indexed": lambda input, weight: weight[input],
        "selected": lambda input, weight: weight.index_select(0, input),
        "product": lambda input, weight: F.one_hot(input, weight.shape[0]).to(weight.dtype) @ weight,
        "batch": batch,
        "bag": bag,
        "weighted_batch": batch,
        "weighted_bag": bag,
        "linear": lambda hidden, weight: F.linear(hidden, weight),
        "linear_with_bias": lambda hidden, weight, bias: F.linear(hidden, weight, bias),
        "projected": lambda hidden, weight: hidden @ weight.t(),
        "projected_in_batches": lambda hidden, weight: torch.bmm(hidden[None], weight.t()[None])[0],
    }
)
