"""Programs about first values: drawn, assigned, given.  They import nothing but torch."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.claims.case import experiment

Tensor = torch.Tensor


@experiment("Embedding", "TokenEmbedding", "Linear", "Xavier", "Kaiming", "Parameter(rand)", "data.uniform_(-1, 1)",
            sizes=((64, 256), (300, 100)), shapes=((1,),), dtypes=("float32", "float64"), large=True)  # fmt: skip
def drawn(rows: int, width: int, dtype: str, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    kind = getattr(torch, dtype)
    if situation == "Linear":
        return {"values": torch.nn.Linear(width, rows, dtype=kind).weight}
    layer = torch.nn.Embedding(rows, width, padding_idx=1 if situation == "TokenEmbedding" else None, dtype=kind)
    parameter = layer.weight
    if situation == "Xavier":
        torch.nn.init.xavier_uniform_(layer.weight)
    elif situation == "Kaiming":
        torch.nn.init.kaiming_uniform_(layer.weight)
    elif situation == "Parameter(rand)":
        layer.weight = torch.nn.Parameter(torch.rand(rows, width, dtype=kind))
    elif situation == "data.uniform_(-1, 1)":
        layer.weight.data.uniform_(-1, 1)
    values = layer.weight.detach()
    if situation == "TokenEmbedding":
        values = torch.cat([values[:1], values[2:]])
    return {"values": values, "same": layer.weight is parameter}


@experiment("Embedding", "Linear", sizes=((17, 8), (30, 20)), shapes=((1,),), dtypes=("float32",), large=True)
def initialised_at_once(rows: int, width: int, situation: str, seed: int) -> dict[str, Any]:
    def make() -> Tensor:
        layer = torch.nn.Embedding(rows, width) if situation == "Embedding" else torch.nn.Linear(width, rows)
        return layer.weight.detach()

    torch.manual_seed(seed)
    first, second = make(), make()
    torch.manual_seed(seed)
    return {"first": first, "again": make(), "differs": not torch.equal(first, second)}


@experiment("xavier_uniform_", "kaiming_uniform_", sizes=((7, 4), (30, 20)), dtypes=("float32",), large=True)
def zeroed_afterwards(rows: int, width: int, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    layer = torch.nn.Embedding(rows, width, padding_idx=1)
    getattr(torch.nn.init, situation)(layer.weight)
    filled = layer.weight.detach().clone()
    layer.weight.data[1].zero_()
    return {"filled": filled, "zeroed": layer.weight.detach().clone(), "requires_grad": layer.weight.requires_grad}


@experiment("one Parameter for both", "a Parameter for each", "V ≠ D")
def assigned(weight: Tensor, situation: str) -> dict[str, Any]:
    side = max(2, weight.shape[1])
    rows = side + 1 if situation == "V ≠ D" else side
    table = torch.arange(1, rows * side + 1).reshape(rows, side).to(weight.dtype)
    fc, embedding = torch.nn.Linear(rows, side, bias=False), torch.nn.Embedding(rows, side)
    myemb = torch.nn.Parameter(table.clone())
    fc.weight = myemb
    embedding.weight = torch.nn.Parameter(table.clone()) if situation == "a Parameter for each" else myemb
    first, second = fc.weight.detach().clone(), embedding.weight.detach().clone()
    seen = {"fc": first, "embedding": second, "one": fc.weight is embedding.weight}
    try:
        products = fc(torch.eye(rows, dtype=weight.dtype)).detach()
    except RuntimeError:
        products = torch.zeros(0, 0, dtype=weight.dtype)
    embedding.weight.data.fill_(5)
    embedding(torch.tensor([0])).sum().backward()
    torch.optim.SGD(embedding.parameters(), lr=1.0).step()
    return {**seen, "table": table, "products": products, "changed": bool((fc.weight != table).any())}


@experiment("from_pretrained", "freeze=False")
def pretrained(weight: Tensor, indices: Tensor, upstream: Tensor, situation: str) -> dict[str, Any]:
    table = weight.clone()
    flags = {"freeze": False} if situation == "freeze=False" else {}
    layer = torch.nn.Embedding.from_pretrained(table, **flags)
    given = layer.weight.detach().clone()
    requires_grad = layer.weight.requires_grad
    if requires_grad:
        layer(indices).backward(upstream)
    torch.optim.SGD(layer.parameters(), lr=1.0).step()
    after = layer.weight.detach().clone()
    layer.weight.data[0, 0] = 77.0
    shares = layer.weight.data_ptr() == table.data_ptr()
    return {"given": given, "requires_grad": requires_grad, "after": after, "table": table, "shares": shares}


@experiment("Linear", "EmbeddingBag", shapes=((2, 4),), dtypes=("float32",), sizes=((7, 4),))
def others_pretrained(weight: Tensor, situation: str) -> dict[str, Any]:
    layer = getattr(torch.nn, situation)
    if not hasattr(layer, "from_pretrained"):
        return {"has": False}
    return {"has": True, "given": layer.from_pretrained(weight).weight}


@experiment("float32, looked up", "int64, looked up", "int64, trained", dtypes=("float32",))
def tables_of_numbers(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    table = weight.long() if "int64" in situation else weight
    try:
        layer = torch.nn.Embedding.from_pretrained(table, freeze="trained" not in situation)
        return {"works": True, "value": layer(indices)}
    except RuntimeError:
        return {"works": False, "value": torch.zeros(0)}


@experiment("vocab_size=, emb_size=", "vocab_size, emb_size", "num_embeddings=, embedding_dim=", dtypes=("float32",))
def keywords(rows: int, width: int, situation: str) -> dict[str, Any]:
    names = [name.strip() for name in situation.split(",")]
    named: dict[str, Any] = {
        name[:-1]: size for name, size in zip(names, (rows, width), strict=True) if name.endswith("=")
    }
    try:
        layer = torch.nn.Embedding(**named) if named else torch.nn.Embedding(rows, width)
        return {"failed": "", "shape": list(layer.weight.shape)}
    except TypeError as error:
        return {"failed": type(error).__name__, "shape": []}


@experiment("by Parameter, Embedding", "by Parameter, Linear", "by .data, Embedding", "by .data, Linear")
def either_way(weight: Tensor, situation: str) -> dict[str, Any]:
    rows, width = weight.shape
    kind = torch.nn.Embedding(rows, width) if "Embedding" in situation else torch.nn.Linear(width, rows)
    layer = kind.to(weight.dtype)
    if "Parameter" in situation:
        layer.weight = torch.nn.Parameter(weight)
    else:
        layer.weight.data.copy_(weight)
    return {"weight": layer.weight, "requires_grad": layer.weight.requires_grad}
