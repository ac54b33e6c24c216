"""Programs about padding, with the tutorial's TokenEmbedding.  They import nothing but torch."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch.utils import flop_counter

from embcheck.claims.case import experiment
from embcheck.claims.layers import table

Tensor = torch.Tensor


def token_embedding_class() -> Any:
    class TokenEmbedding(torch.nn.Embedding):
        def __init__(self, vocab_size: int, d_model: int) -> None:
            super().__init__(vocab_size, d_model, padding_idx=1)

    return TokenEmbedding


def token_embedding(weight: Tensor) -> Any:
    layer = token_embedding_class()(*weight.shape).to(weight.dtype)
    layer.load_state_dict({"weight": weight})
    return layer


@experiment()
def token_embedding_made(rows: int, width: int, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    layer = token_embedding_class()(rows, width)
    return {
        "shape": list(layer.weight.shape),
        "zero": not bool(layer.weight[1].any()),
        "kind": type(layer.padding_idx).__name__,
        "padding": layer.padding_idx,
        "parameters": [name for name, _ in layer.named_parameters()],
        "state": list(layer.state_dict()),
        "elements": sum(parameter.numel() for parameter in layer.parameters()),
    }


@experiment(sizes=((10000, 512),), shapes=((1,),), dtypes=("float32",), large=True)
def large_table(rows: int, width: int) -> dict[str, Any]:
    with torch.device("meta"):
        layer = token_embedding_class()(rows, width)
    return {"shape": list(layer.weight.shape), "elements": sum(parameter.numel() for parameter in layer.parameters())}


@experiment(sizes=((40, 8), (29, 1), (100, 512)), dtypes=("float32",), large=True)
def sequence_of_four(weight: Tensor) -> dict[str, Any]:
    layer = token_embedding_class()(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.weight[1] = 0
    value = layer(torch.tensor([3, 28, 1, 0]))
    return {"value": value, "scaled": value * weight.shape[1] ** 0.5}


@experiment("subclass", "plain", padding=1)
def inherited(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    plain = table(weight, padding_idx=1)
    layer = token_embedding(weight) if situation == "subclass" else plain
    return {"value": layer(indices), "module": isinstance(layer, torch.nn.Embedding)}


@experiment("Sequential", "deepcopy", "save and load", "to(float64)", "own forward", "from_pretrained", padding=1)
def with_the_ecosystem(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    layer, error = token_embedding(weight), ""
    if situation == "Sequential":
        layer = torch.nn.Sequential(layer, torch.nn.Identity())
    elif situation == "deepcopy":
        layer = copy.deepcopy(layer)
    elif situation == "save and load":
        file = io.BytesIO()
        torch.save(layer.state_dict(), file)
        file.seek(0)
        layer = token_embedding(torch.zeros_like(weight))
        layer.load_state_dict(torch.load(file, weights_only=True))
    elif situation == "to(float64)":
        layer = layer.to(torch.float64)
    elif situation == "own forward":

        class Scaled(token_embedding_class()):  # type: ignore[misc]
            def forward(self, tokens: Tensor) -> Tensor:
                found: Tensor = super().forward(tokens) * 2
                return found / 2

        layer = Scaled(*weight.shape).to(weight.dtype)
        layer.load_state_dict({"weight": weight})
    else:
        try:
            layer = token_embedding_class().from_pretrained(weight)
        except TypeError as raised:
            error = type(raised).__name__
    return {"failed": error, "value": layer(indices)}


@experiment("lookup", "sparse lookup", "tied head", "penalty on the weight", padding=1)
def padding_gradient(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    indices = torch.cat([indices.reshape(-1), torch.tensor([1, 1])])
    upstream = torch.ones(len(indices), weight.shape[1], dtype=weight.dtype)
    layer: Any = table(weight, padding_idx=1, sparse=situation == "sparse lookup")
    layer(indices).backward(upstream)
    lookup = layer.weight.grad.to_dense().clone()
    if situation == "tied head":
        hidden = torch.ones(1, weight.shape[1], dtype=weight.dtype)
        torch.nn.functional.linear(hidden, layer.weight).sum().backward()
    if situation == "penalty on the weight":
        layer.weight.square().sum().backward()
    return {"lookup": lookup, "gradient": layer.weight.grad.to_dense()}


@experiment("SGD", "Adam", "SGD with decay, zero row", "SGD with decay, filled row", "tied head", "Xavier",
            "Xavier, row zeroed", "max_norm, filled row", "filled row", padding=1)  # fmt: skip
def padding_trained(weight: Tensor, indices: Tensor, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    limit = 0.5 if "max_norm" in situation else None
    # What Xavier's rule draws for a row of one is 0 once in 2²⁴ times, so that rows are wider there.
    width = weight.shape[1] + (7 if situation == "Xavier" else 0)
    layer = torch.nn.Embedding(weight.shape[0], width, padding_idx=1, max_norm=limit, dtype=weight.dtype)
    with torch.no_grad():
        if "Xavier" in situation:
            torch.nn.init.xavier_uniform_(layer.weight)
        if "row zeroed" in situation:
            layer.weight.data[1].zero_()
        if "filled row" in situation:
            layer.weight[1] = 3.0
    before = layer.weight.detach()[1].clone()
    decay = 0.25 if "decay" in situation else 0.0
    chosen = torch.optim.Adam if situation == "Adam" else torch.optim.SGD
    trainer = chosen(layer.parameters(), lr=0.5, weight_decay=decay)
    tokens = torch.cat([indices.reshape(-1), torch.tensor([1, 1])])
    for _ in range(3):
        trainer.zero_grad()
        loss = layer(tokens).sum()
        if situation == "tied head":
            loss = (
                loss + torch.nn.functional.linear(torch.ones(1, weight.shape[1]).to(weight.dtype), layer.weight).sum()
            )
        loss.backward()
        trainer.step()
    return {"before": before, "after": layer.weight.detach()[1].clone()}


@experiment("training", "eval", "no_grad", padding=1)
def masked(weight: Tensor, indices: Tensor, situation: str) -> dict[str, Any]:
    padded = table(weight, padding_idx=1).train(situation == "training")
    plain = table(weight).train(situation == "training")
    after = torch.nn.Linear(weight.shape[1], 2, bias=False, dtype=weight.dtype)
    counter = flop_counter.FlopCounterMode(display=False)
    with torch.set_grad_enabled(situation != "no_grad"):
        tokens = torch.cat([indices.reshape(-1), torch.tensor([1, 1])])
        with counter:
            value = padded(tokens)
            after(value)
        return {"value": value, "unpadded": plain(tokens), "flops": counter.get_total_flops()}


@experiment("summed, zero row", "summed, filled row", "averaged, zero row", "attended to, zero row")
def with_padding_appended(weight: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight.clone(), padding_idx=1)
    with torch.no_grad():
        layer.weight[1] = 1.0 if "filled" in situation else 0.0

    def represented(tokens: Tensor) -> Any:
        rows = layer(tokens)
        if "attended" in situation:
            scores = torch.softmax(rows @ rows[0] * 0, -1)  # a query to which all keys are alike
            return scores @ rows
        return rows.mean(0) if "averaged" in situation else rows.sum(0)

    sentence = torch.tensor([0, 2])
    padded = torch.tensor([0, 2, 1, 1])
    keys = layer(padded)
    weights = torch.softmax(keys @ torch.zeros(weight.shape[1], dtype=weight.dtype), -1)
    return {"alone": represented(sentence), "padded": represented(padded), "attention": weights[2:].sum()}


@experiment("zero index", "middle index", "last index, negative", "given weights")
def padding_row_at_start(rows: int, width: int, situation: str, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    padding = {"zero index": 0, "middle index": rows // 2, "last index, negative": -1, "given weights": 1}[situation]
    given = torch.ones(rows, width) if situation == "given weights" else None
    layer = torch.nn.Embedding(rows, width, padding_idx=padding, _weight=given)
    plain = torch.nn.Embedding(rows, width)
    return {"row": layer.weight.detach()[padding].clone(), "default": repr(plain.padding_idx)}


@experiment("padding_idx=1", "no padding")
def all_rows_trained(weight: Tensor, situation: str) -> dict[str, Any]:
    layer = table(weight, padding_idx=1 if situation == "padding_idx=1" else None)
    layer(torch.arange(weight.shape[0])).sum().backward()
    return {"gradient": layer.weight.grad}


@experiment()
def padding_row_changed(weight: Tensor) -> dict[str, Any]:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=1, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight[1] = weight[0]
    value = layer(torch.tensor([1, 1]))
    value.sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    return {"value": value, "after": layer.weight.detach()[1].clone()}
