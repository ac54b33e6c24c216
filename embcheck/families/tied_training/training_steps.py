"""What happens when a tied pair is trained: ties, listings, laps, events, clips, schedules and ways to clear gradients.

Plain functions that import nothing but torch.  A *tie* ``(weight, bias, sparse) -> (model, path of the embedding,
path of the head)`` says how the parameter is shared; a *listing* how the optimizer gets to know it; a *lap* runs one
backward pass and returns the loss; an *event* ``(k, model, optimizer, build, table, indices) -> (model, optimizer)``
comes before step k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
Tied = tuple[torch.nn.Module, str, str]
Function = Callable[..., Any]
F = TypeVar("F", bound=Function)

TIES: dict[str, Function] = {}
LISTINGS: dict[str, Function] = {}
LAPS: dict[str, Function] = {}
EVENTS: dict[str, Function] = {}
CLIPS: dict[str, Function] = {}
ZEROS: dict[str, Function] = {}


# -- ties --------------------------------------------------------------------------------------------------------


@into(TIES)
def head_takes_embedding(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    model = torch.nn.Module()
    model.embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight)
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    model.head.weight = model.embedding.weight
    if bias is not None:
        model.head.bias = torch.nn.Parameter(bias)
    return model, "embedding", "head"


@into(TIES)
def embedding_takes_head(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    model = torch.nn.Module()
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    model.head.weight = torch.nn.Parameter(weight)
    if bias is not None:
        model.head.bias = torch.nn.Parameter(bias)
    model.embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight.detach())
    model.embedding.weight = model.head.weight
    return model, "embedding", "head"


@into(TIES)
def nested(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    embedding = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight.detach())
    encoder = torch.nn.Sequential(torch.nn.Identity(), torch.nn.ModuleDict({"words": embedding}))
    model = torch.nn.ModuleDict({"encoder": encoder, "decoder": torch.nn.ModuleList([torch.nn.Dropout(0.0), head])})
    embedding.weight = torch.nn.Parameter(weight)
    head.register_parameter("weight", model.get_parameter("encoder.1.words.weight"))
    if bias is not None:
        head.register_parameter("bias", torch.nn.Parameter(bias))
    return model, "encoder.1.words", "decoder.1"


@into(TIES)
def three_way(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    model = torch.nn.Module()
    model.source = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight)
    model.target = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight.detach())
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    model.head.weight = model.target.weight = model.source.weight
    if bias is not None:
        model.head.bias = torch.nn.Parameter(bias)
    return model, "source", "head"


@into(TIES)
def same_module_twice(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    model = torch.nn.Module()
    model.source = model.target = torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight)
    model.head = torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype)
    model.head.weight = model.target.weight
    if bias is not None:
        model.head.bias = torch.nn.Parameter(bias)
    return model, "target", "head"


@into(TIES)
def tied_again(weight: Tensor, bias: Tensor | None, sparse: bool) -> Tied:
    model = torch.nn.Sequential()
    model.add_module("0", torch.nn.Embedding(weight.shape[0], weight.shape[1], sparse=sparse, _weight=weight.detach()))
    model.append(torch.nn.Linear(weight.shape[1], weight.shape[0], bias is not None, "meta", weight.dtype))
    model[1].weight = model[0].weight
    del model[1].weight
    model[0].weight = torch.nn.Parameter(weight)
    model[1].weight = model[0].weight
    if bias is not None:
        model[1].bias = torch.nn.Parameter(bias)
    return model, "0", "1"


# -- listings ----------------------------------------------------------------------------------------------------


@into(LISTINGS)
def parameters(build: Function, model: Any, table: str, top: str) -> Any:
    return build(model.parameters())


@into(LISTINGS)
def listed(build: Function, model: Any, table: str, top: str) -> Any:
    return build(list(model.parameters()))


@into(LISTINGS)
def named(build: Function, model: Any, table: str, top: str) -> Any:
    return build(model.named_parameters())


@into(LISTINGS)
def from_head(build: Function, model: Any, table: str, top: str) -> Any:
    return build(model.get_submodule(top).parameters())


@into(LISTINGS)
def unique(build: Function, model: Any, table: str, top: str) -> Any:
    pair = [*model.get_submodule(table).parameters(), *model.get_submodule(top).parameters()]
    return build(list(dict.fromkeys(pair)))


@into(LISTINGS)
def one_group(build: Function, model: Any, table: str, top: str) -> Any:
    return build([{"params": list(model.parameters())}])


@into(LISTINGS)
def bare_groups(build: Function, model: Any, table: str, top: str) -> Any:
    return build([{"params": parameter} for parameter in model.parameters()])


@into(LISTINGS)
def added_last(build: Function, model: Any, table: str, top: str) -> Any:
    weight, bias = model.get_submodule(table).weight, getattr(model.get_submodule(top), "bias", None)
    if bias is None:
        bias = torch.nn.Parameter(torch.zeros_like(weight))
    optimizer = build([bias])
    optimizer.add_param_group({"params": weight})
    return optimizer


@into(LISTINGS)
def own_rate(build: Function, model: Any, table: str, top: str) -> Any:
    rate = build(model.parameters()).param_groups[0]["lr"]
    return build([{"params": [p], "lr": rate} for p in reversed(list(model.parameters()))], lr=1.0)


# -- laps --------------------------------------------------------------------------------------------------------


def tables(model: Any) -> list[Any]:
    """What looks rows up: the modules that are marked so, or else torch's embeddings."""
    marked = [m for m in model.modules() if m.__dict__.get("part_of_a_tie") == "table"]
    return marked or [m for m in model.modules() if isinstance(m, torch.nn.Embedding)]


def heads(model: Any) -> list[Any]:
    """What multiplies by the weight: the modules that are marked so, or else torch's linear layers."""
    marked = [m for m in model.modules() if m.__dict__.get("part_of_a_tie") == "head"]
    return marked or [m for m in model.modules() if isinstance(m, torch.nn.Linear)]


@into(LAPS)
def pair(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> Any:
    outputs = [m(indices) for m in tables(model)] if use != "head" else []
    upstream = [below] * len(outputs)
    if use != "lookup":
        outputs += [m(hidden) for m in heads(model)]
        upstream += [above]
    torch.autograd.backward(outputs, upstream)
    return outputs[0].detach().sum()


@into(LAPS)
def joint(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> Any:
    loss = torch.zeros((), dtype=below.dtype)
    for m in tables(model) if use != "head" else []:
        loss = loss + (m(indices) * below).sum()
    for m in heads(model) if use != "lookup" else []:
        loss = loss + (m(hidden) * above).sum()
    torch.autograd.backward(loss)
    return loss


@into(LAPS)
def apart(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> Any:
    value = torch.zeros(())
    for m in tables(model) if use != "head" else []:
        value = m(indices)
        value.backward(below)
    for m in heads(model) if use != "lookup" else []:
        value = m(hidden)
        value.backward(above)
    return value.detach().sum()


@into(LAPS)
def head_first(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> Any:
    value = torch.zeros(())
    for m in reversed(heads(model)) if use != "lookup" else []:
        value = m(hidden)
        value.backward(above)
    for m in tables(model) if use != "head" else []:
        value = m(indices)
        value.backward(below)
    return value.detach().sum()


@into(LAPS)
def composed(model: Any, indices: Tensor, hidden: Tensor, below: Tensor, above: Tensor, use: str) -> Any:
    score = heads(model)[0](tables(model)[0](indices))
    score.backward(above)
    return score.detach().sum()


# -- clearing gradients ------------------------------------------------------------------------------------------


@into(ZEROS)
def to_none(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad()


@into(ZEROS)
def to_zeros(model: Any, optimizer: Any) -> None:
    optimizer.zero_grad(set_to_none=False)


@into(ZEROS)
def model_to_none(model: Any, optimizer: Any) -> None:
    model.zero_grad()


@into(ZEROS)
def model_to_zeros(model: Any, optimizer: Any) -> None:
    model.zero_grad(set_to_none=False)


@into(ZEROS)
def by_hand(model: Any, optimizer: Any) -> None:
    for parameter in model.parameters():
        parameter.grad = None


@into(ZEROS)
def never(model: Any, optimizer: Any) -> None:
    pass


# -- clips -------------------------------------------------------------------------------------------------------


@into(CLIPS)
def unclipped(parameters: list[Tensor]) -> Any:
    return None


@into(CLIPS)
def value(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_value_(parameters, 2.0)


@into(CLIPS)
def value_plain(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_value_(parameters, 2.0, foreach=False)


@into(CLIPS)
def loose(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_norm_(parameters, 2.0**14)


@into(CLIPS)
def norm(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_norm_(parameters, 0.5)


@into(CLIPS)
def norm_plain(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_norm_(iter(parameters), 0.5, foreach=False)


@into(CLIPS)
def norm_one(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_norm_(parameters, 0.5, norm_type=1)


@into(CLIPS)
def norm_largest(parameters: list[Tensor]) -> Any:
    return torch.nn.utils.clip_grad_norm_(parameters, 0.5, norm_type=float("inf"))
