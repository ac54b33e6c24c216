"""Programs about padding, with the tutorial's TokenEmbedding."""

import copy
import io
from typing import Any

import torch
from torch.utils import flop_counter

from embcheck.claims.case import experiment
from embcheck.claims.lookups import Counting, Seen, Tensor, attempted, table


class TokenEmbedding(torch.nn.Embedding):
    def __init__(self, vocab_size: int, d_model: int) -> None:
        super().__init__(vocab_size, d_model, padding_idx=1)


class WithForward(TokenEmbedding):
    def forward(self, tokens: Tensor) -> Tensor:
        return super().forward(tokens) * 2 / 2


def token_embedding(weight: Tensor, kind: Any = None) -> Any:
    layer = (kind or TokenEmbedding)(*weight.shape).to(weight.dtype)
    layer.load_state_dict({"weight": weight})
    return layer


@experiment()
def token_embedding_made(rows: int, width: int, seed: int) -> Seen:
    torch.manual_seed(seed)
    layer = TokenEmbedding(rows, width)
    seen: Seen = {"shape": list(layer.weight.shape), "zero": not bool(layer.weight[1].any())}
    seen |= {"kind": type(layer.padding_idx).__name__, "padding": layer.padding_idx}
    seen |= {"parameters": [name for name, _ in layer.named_parameters()], "state": list(layer.state_dict())}
    return {**seen, "elements": sum(parameter.numel() for parameter in layer.parameters())}


@experiment(sizes=((10000, 512),), shapes=((1,),), dtypes=("float32",), large=True)
def large_table(rows: int, width: int) -> Seen:
    with torch.device("meta"):
        layer = TokenEmbedding(rows, width)
    return {"shape": list(layer.weight.shape), "elements": sum(parameter.numel() for parameter in layer.parameters())}


@experiment(sizes=((40, 8), (29, 1), (100, 512)), dtypes=("float32",), large=True)
def sequence_of_four(weight: Tensor) -> Seen:
    layer = TokenEmbedding(*weight.shape)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.weight[1] = 0
    value = layer(torch.tensor([3, 28, 1, 0]))
    return {"value": value, "scaled": value * weight.shape[1] ** 0.5}


@experiment("subclass", "plain", padding=1)
def inherited(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    plain = table(weight, padding_idx=1)
    layer = token_embedding(weight) if situation == "subclass" else plain
    return {"value": layer(indices), "module": isinstance(layer, torch.nn.Embedding)}


@experiment("Sequential", "deepcopy", "save and load", "to(float64)", "own forward", "from_pretrained", padding=1)
def with_the_ecosystem(weight: Tensor, indices: Tensor, situation: str) -> Seen:
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
        layer = token_embedding(weight, WithForward)
    else:
        made, error = attempted(TokenEmbedding.from_pretrained, weight)
        layer = layer if error else made
    return {"failed": error, "value": layer(indices)}


@experiment("lookup", "sparse lookup", "tied head", "penalty on the weight", padding=1)
def padding_gradient(weight: Tensor, indices: Tensor, situation: str) -> Seen:
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
            "Xavier, row zeroed", "max_norm, filled row", "filled row", "penalty on the weight", padding=1)  # fmt: skip
def padding_trained(weight: Tensor, indices: Tensor, situation: str, seed: int) -> Seen:
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
    optimizer = torch.optim.Adam if situation == "Adam" else torch.optim.SGD
    trainer = optimizer(layer.parameters(), lr=0.5, weight_decay=decay)
    hidden = torch.ones(1, weight.shape[1], dtype=weight.dtype)
    tokens = torch.cat([indices.reshape(-1), torch.tensor([1, 1])])
    for _ in range(3):
        trainer.zero_grad()
        loss = layer(tokens).sum()
        if situation == "tied head":
            loss = loss + torch.nn.functional.linear(hidden, layer.weight).sum()
        if situation == "penalty on the weight":
            loss = loss + (layer.weight - 1).square().sum()
        loss.backward()
        trainer.step()
    return {"before": before, "after": layer.weight.detach()[1].clone()}


@experiment("training", "eval", "no_grad", padding=1)
def masked(weight: Tensor, indices: Tensor, situation: str) -> Seen:
    padded = table(weight, padding_idx=1).train(situation == "training")
    plain = table(weight).train(situation == "training")
    after = torch.nn.Linear(weight.shape[1], 2, bias=False, dtype=weight.dtype)
    counter = flop_counter.FlopCounterMode(display=False)
    with torch.set_grad_enabled(situation != "no_grad"):
        tokens = torch.cat([indices.reshape(-1), torch.tensor([1, 1])])
        with counter:
            with Counting() as lookups:
                value = padded(tokens)
            after(value)
    seen = {"value": value, "unpadded": plain(tokens), "flops": counter.get_total_flops(), "indices": lookups.indices}
    if situation != "training":
        return seen
    value.sum().backward()
    return {**seen, "gradient": padded.weight.grad}


@experiment("summed, zero row", "summed, filled row", "averaged, zero row", "attended to, zero row")
def with_padding_appended(weight: Tensor, situation: str) -> Seen:
    layer = table(weight.clone(), padding_idx=1)
    with torch.no_grad():
        layer.weight[1] = 1.0 if "filled" in situation else 0.0

    def represented(tokens: Tensor) -> Any:
        rows = layer(tokens)
        if "attended" in situation:
            scores = torch.softmax(rows @ rows[0] * 0, -1)  # a query to which all keys are alike
            return scores @ rows
        return rows.mean(0) if "averaged" in situation else rows.sum(0)

    padded = torch.tensor([0, 2, 1, 1])
    weights = torch.softmax(layer(padded) @ torch.zeros(weight.shape[1], dtype=weight.dtype), -1)
    return {"padded": represented(padded), "attention": weights[2:].sum()}


@experiment("zero index", "middle index", "last index, negative", "given weights")
def padding_row_at_start(rows: int, width: int, situation: str, seed: int) -> Seen:
    torch.manual_seed(seed)
    padding = {"zero index": 0, "middle index": rows // 2, "last index, negative": -1, "given weights": 1}[situation]
    given = torch.ones(rows, width) if situation == "given weights" else None
    layer = torch.nn.Embedding(rows, width, padding_idx=padding, _weight=given)
    return {"row": layer.weight.detach()[padding].clone()}


@experiment("padding_idx=1", "no padding")
def all_rows_trained(weight: Tensor, situation: str) -> Seen:
    layer = table(weight, padding_idx=1 if situation == "padding_idx=1" else None)
    layer(torch.arange(weight.shape[0])).sum().backward()
    return {"gradient": layer.weight.grad}


@experiment()
def padding_row_changed(weight: Tensor) -> Seen:
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx=1, dtype=weight.dtype)
    with torch.no_grad():
        layer.weight[1] = weight[0]
    value = layer(torch.tensor([1, 1]))
    value.sum().backward()
    torch.optim.SGD(layer.parameters(), lr=0.5).step()
    return {"value": value, "after": layer.weight.detach()[1].clone()}
