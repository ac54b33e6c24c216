"""Programs about an embedding's weight in a linear layer.  They import nothing but torch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.layers import table

Tensor = torch.Tensor


@experiment()
def layer_shapes(rows: int, width: int) -> dict[str, Any]:
    embedding, linear = torch.nn.Embedding(rows, width), torch.nn.Linear(rows, width)
    return {"embedding": list(embedding.weight.shape), "linear": list(linear.weight.shape)}


@experiment("without detach", "with detach")
def converted(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    embedding = table(weight.clone())
    linear = torch.nn.Linear(weight.shape[0], weight.shape[1], bias=False, dtype=weight.dtype)
    transposed = embedding.weight.T
    linear.weight = torch.nn.Parameter(transposed.detach() if situation == "with detach" else transposed)
    one_hot = torch.nn.functional.one_hot(indices, weight.shape[0]).to(weight.dtype)
    value = linear(one_hot)
    value.backward(upstream)
    made = linear.weight.detach().clone()
    torch.optim.SGD(linear.parameters(), lr=1.0).step()
    return {
        "value": value,
        "made": made,
        "parameter": type(linear.weight) is torch.nn.Parameter,
        "registered": [name for name, _ in linear.named_parameters()],
        "leaf": linear.weight.is_leaf,
        "requires_grad": linear.weight.requires_grad,
        "shares": linear.weight.data_ptr() == embedding.weight.data_ptr(),
        "gradient": linear.weight.grad,
        "after": linear.weight.detach().clone(),
        "table": embedding.weight.detach().clone(),
    }


@experiment("with bias", "without bias")
def as_linear(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    rows, width = weight.shape
    linear = torch.nn.Linear(rows, width, bias=situation == "with bias", dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight.T)
    if linear.bias is not None:
        linear.bias.data.copy_(torch.arange(1, width + 1))
    one_hot = torch.nn.functional.one_hot(indices, rows).to(weight.dtype)
    return {"value": linear(one_hot), "eye": linear(torch.eye(rows, dtype=weight.dtype))}


@experiment("one vector", "batch of vectors", "one vector without bias", "batch without bias")
def multiplied(weight: Tensor, situation: str) -> dict[str, Any]:
    rows, width = weight.shape
    linear = torch.nn.Linear(width, rows, bias="without" not in situation, dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(weight)
    if linear.bias is not None:
        linear.bias.data.copy_(torch.arange(1, rows + 1))
    few = torch.arange(1, 1 + width).to(weight.dtype) % 3 - 1
    x = torch.stack([few] * (width + 1)) if "batch" in situation else few
    try:
        direct, error = linear.weight @ x + (0 if linear.bias is None else linear.bias), ""
    except RuntimeError as raised:
        direct, error = torch.zeros(0), type(raised).__name__
    return {"value": linear(x), "direct": direct, "failed": error, "shape": list(linear.weight.shape)}


@experiment("layer from V to D", "layer from V to D, V = D", "layer from D to V")
def untransposed(weight: Tensor, situation: str) -> dict[str, Any]:
    if "V = D" in situation:
        side = max(2, min(weight.shape))
        weight = torch.arange(1, side * side + 1).reshape(side, side).to(weight.dtype)
    embedding = torch.nn.Embedding.from_pretrained(weight)
    rows, width = embedding.weight.shape
    into = (width, rows) if situation == "layer from D to V" else (rows, width)
    linear = torch.nn.Linear(*into, bias=False, dtype=weight.dtype)
    fits = linear.weight.shape == embedding.weight.shape
    linear.weight = torch.nn.Parameter(embedding.weight)
    try:
        value = linear(torch.eye(into[0], dtype=weight.dtype))
    except RuntimeError:
        value = torch.zeros(0, 0, dtype=weight.dtype)
    return {"fits": fits, "value": value, "table": embedding.weight}


@experiment("with detach")
def detached(weight: Tensor) -> dict[str, Any]:
    embedding = table(weight.clone())
    apart = embedding.weight.T.detach()
    shares = apart.data_ptr() == embedding.weight.data_ptr()
    with torch.no_grad():
        apart[0, 0] = 99.0
    afterwards = embedding.weight.detach()[0, 0].clone()
    return {"shares": shares, "requires_grad": apart.requires_grad, "afterwards": afterwards}


@experiment("frozen from the start", "not frozen", "frozen with a gradient left over")
def frozen(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    embedding = table(weight.clone())
    linear = torch.nn.Linear(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    linear.weight = torch.nn.Parameter(embedding.weight.T, requires_grad=situation != "frozen from the start")
    before = linear.weight.detach().clone()
    one_hot = torch.nn.functional.one_hot(indices, weight.shape[0]).to(weight.dtype)
    linear(one_hot).backward(upstream)
    if situation == "frozen with a gradient left over":
        linear.weight.requires_grad = False
    torch.optim.SGD(linear.parameters(), lr=1.0).step()
    return {"moved": (linear.weight.detach() - before).T, "requires_grad": linear.weight.requires_grad}
