"""Programs about the lookup: rows, indices, flags.  They import nothing but torch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.claims.case import experiment
from embcheck.claims.layers import table, tried

Tensor = torch.Tensor


@experiment(dtypes=("float32", "float64", "float16", "bfloat16"))
def looked_up(weight: Tensor, indices: Tensor) -> dict[str, Any]:
    layer = table(weight)
    value = layer(indices)
    return {
        "value": value,
        "singly": torch.cat([layer(token.reshape(1)) for token in indices.reshape(-1)]),
        "graph": type(value.grad_fn).__name__,
        "floating": value.is_floating_point(),
        "requires_grad": value.requires_grad,
    }


@experiment(sizes=((100, 6),), shapes=((2, 4),), dtypes=("float32",), seeds=8, large=True)
def two_sentences(seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    embedding = torch.nn.Embedding(100, 6)
    e = embedding(torch.LongTensor([[1, 2, 4, 5], [4, 3, 2, 3]]))
    return {"value": e, "weight": embedding.weight}


@experiment("int64", "int32", "int16", "uint8", "bool", "float32")
def index_kinds(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    return tried(table(weight), indices.clamp(max=1).to(getattr(torch, situation)))


@experiment("eval()", "eval() and no_grad()", padding=1, pattern="late_padding")
def evaluated(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight, padding_idx=1).eval()
    with torch.set_grad_enabled("no_grad" not in situation):
        return {"value": layer(indices)}


@experiment("first", "last", "one past the last", "-1", sizes=((5000, 2), (7, 4), (3, 1)))
def edges(weight: Tensor, situation: str) -> dict[str, Any]:
    rows = weight.shape[0]
    index = {"first": 0, "last": rows - 1, "one past the last": rows, "-1": -1}[situation]
    return tried(lambda indices: table(weight)(indices)[0], torch.tensor([index]))


@experiment("few rows, long sentence", "many rows, short sentence, large index")
def sentence_lengths(weight: Tensor, situation: str) -> dict[str, Any]:
    rows = weight.shape[0]
    long = situation == "few rows, long sentence"
    sentence = torch.arange(10 * rows) % rows if long else torch.tensor([rows])
    return {**tried(table(weight), sentence), "length": len(sentence), "rows": rows}


@experiment("1.0", "2.0", "3.0", "inf", "default", dtypes=("float32", "float64"))
def renormed(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    chosen: dict[str, Any] = {} if situation == "default" else {"norm_type": float(situation)}
    layer = table(weight.clone(), max_norm=1.5, **chosen)
    value = layer(indices).detach()
    return {"value": value, "after": layer.weight.detach().clone(), "norm_type": layer.norm_type}


@experiment("looked up", "not looked up", "small norm")
def renormed_rows(weight: Tensor, situation: str) -> dict[str, Any]:
    limit = 1e6 if situation == "small norm" else 1.5
    layer = table(weight.clone(), max_norm=limit)
    layer(torch.tensor([0] if situation == "not looked up" else [weight.shape[0] - 1]))
    return {"row": layer.weight.detach()[-1].clone(), "limit": limit}


@experiment("scale_grad_by_freq", "default", pattern="unequal")
def scaled_by_frequency(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    flags = {"scale_grad_by_freq": True} if situation == "scale_grad_by_freq" else {}
    layer = table(weight, **flags)
    layer(indices).backward(upstream)
    return {"gradient": layer.weight.grad}


@experiment("sparse=True", "default")
def sparse_gradient(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    flags = {"sparse": True} if situation == "sparse=True" else {}
    layer: Any = table(weight, **flags)
    layer(indices).backward(upstream)
    return {"gradient": layer.weight.grad, "sparse": layer.weight.grad.is_sparse}
