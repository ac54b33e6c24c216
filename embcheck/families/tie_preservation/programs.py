"""Programs: models with tied weights, and what may happen to them.

They import nothing but torch, for their source is what a counterexample's script shows.  An operation is a function
``(model, embedding, head) -> model`` (see `embcheck.families.tie_preservation.operations`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
import torch.nn.utils.parametrize
import torch.nn.utils.prune
import torch.optim.swa_utils

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Operation = Callable[[Module, Module, Module], Module]


def live(
    build: Callable[..., Module],
    watch: Callable[..., dict[str, Any]],
    acts: tuple[Operation, ...],
    watched: bool,
    embedding: str,
    head: str,
    flags: dict[str, Any],
    from_head: bool,
    weight: Tensor,
    indices: Tensor,
    hidden: Tensor,
    upstream: Tensor,
    upstream_head: Tensor,
    bias: Tensor | None = None,
) -> dict[str, Any]:
    model = build(weight, bias, flags, from_head)
    modules = [(path, type(module).__name__, module.extra_repr()) for path, module in model.named_modules()]
    left: list[Any] = []
    trail: list[dict[str, Any]] = []
    for act in acts:
        after = act(model, model.get_submodule(embedding), model.get_submodule(head))
        if after is not model:
            left.append((model, observe(model)))
        model = after
        if watched:
            table, out = model.get_submodule(embedding), model.get_submodule(head)
            trail.append(watch(model, table, out, indices, hidden, upstream, upstream_head))
            trail[-1]["left_alone"] = all(same_view(observe(old), kept) for old, kept in left)
    seen = observe(model)
    seen["trail"] = trail
    seen["same_module"] = not left
    seen["kept"] = modules == [(path, kind, said) for path, kind, _, said in seen["modules"]]
    table, out = model.get_submodule(embedding), model.get_submodule(head)
    dtype = out.weight.dtype
    model.zero_grad()
    seen["grads_gone"] = all(p.grad is None for p in model.parameters())
    found, logits = table(indices), out(hidden.to(dtype))
    seen |= {"found": found.detach().clone(), "logits": logits.detach().clone()}
    pairs = [(found, upstream.to(dtype)), (logits, upstream_head.to(dtype))]
    pairs = [pair for pair in pairs if pair[0].requires_grad]
    if pairs:
        torch.autograd.backward([pair[0] for pair in pairs], [pair[1] for pair in pairs])
    named = sorted(model.named_parameters(remove_duplicate=False), key=lambda pair: pair[0])
    grads = [p.grad.to_dense().reshape(-1) for _, p in named if p.grad is not None]
    seen |= {
        "collected": [p.grad is not None for _, p in named],
        "collected_grads": torch.cat(grads) if grads else torch.zeros(0, dtype=dtype),
    }
    if grads:
        torch.optim.SGD(model.parameters(), lr=0.5).step()
    seen["stepped"] = torch.cat([p.detach().reshape(-1) for _, p in named])
    doubled = {"0.weight": torch.ones_like(out.weight)}
    chain = torch.nn.Sequential(table, out)
    call = torch.func.functional_call
    seen["replaced"] = call(chain, doubled, (indices,)).detach()
    seen["replaced_by_head"] = call(chain, {"1.weight": doubled["0.weight"]}, (indices,)).detach()
    seen["replaced_alone"] = call(chain, doubled, (indices,), tie_weights=False).detach()
    everything = dict(chain.named_parameters(remove_duplicate=False))
    taken: list[Any] = []
    given: Any
    plain = chain(indices)
    for given in (everything, {}, {**everything, "nobody": out.weight}):
        try:
            strictly = call(chain, given, (indices,), tie_weights=False, strict=True)
            taken.append(torch.equal(strictly, plain))
        except RuntimeError:
            taken.append(None)
    seen["strict"] = taken == [True, None, None]
    seen["refuses_repeats"] = False
    try:
        call(chain, (doubled, doubled), (indices,))
    except ValueError:
        seen["refuses_repeats"] = True
    with torch.no_grad():
        table.weight.fill_(7.0)
    seen["filled"] = torch.cat([p.detach().reshape(-1) for _, p in named])
    seen["left_alone"] = all(same_view(observe(old), kept) for old, kept in left)
    with torch.no_grad():
        for old, _ in left:
            for parameter in old.parameters():
                parameter.fill_(9.0)
    seen["filled_there"] = torch.cat([p.detach().reshape(-1) for _, p in named])
    return seen


def watch(
    model: Module, table: Module, out: Module, indices: Tensor, hidden: Tensor, upstream: Tensor, upstream_head: Tensor
) -> dict[str, Any]:
    """What a module shows of itself and how it behaves, all of which is taken back."""
    seen = observe(model)
    named = sorted(model.named_parameters(remove_duplicate=False), key=lambda pair: pair[0])
    dtype = out.weight.dtype
    slots = torch.optim.SGD(model.parameters(), lr=0.5).param_groups[0]["params"]
    seen["slots"] = [[id(p) for _, p in named].index(id(slot)) for slot in slots]
    found, logits = table(indices), out(hidden.to(dtype))
    seen |= {"found": found.detach().clone(), "logits": logits.detach().clone()}
    pairs = [(found, upstream.to(dtype)), (logits, upstream_head.to(dtype))]
    pairs = [pair for pair in pairs if pair[0].requires_grad]
    trained = {id(p): p for _, p in named if p.requires_grad}
    grads = {}
    if pairs:
        ends, sent = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
        found_grads = torch.autograd.grad(ends, list(trained.values()), sent, allow_unused=True)
        grads = dict(zip(trained, found_grads, strict=True))
    reached = [grads.get(id(p)) for _, p in named]
    parts = [grad.to_dense().reshape(-1) for grad in reached if grad is not None]
    seen |= {
        "collected": [grad is not None for grad in reached],
        "collected_grads": torch.cat(parts) if parts else torch.zeros(0, dtype=dtype),
    }
    with torch.no_grad():
        for name, side, value in (("filled", table.weight, 7.0), ("filled_head", out.weight, 5.0)):
            kept = side.detach().clone()
            side.fill_(value)
            seen[name] = torch.cat([p.detach().reshape(-1) for _, p in named])
            side.copy_(kept)
    return seen


def same_view(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two observations are equal."""
    rest = [name for name in a if name != "values"]
    return torch.equal(a["values"], b["values"]) and [a[name] for name in rest] == [b[name] for name in rest]


def observe(model: Module) -> dict[str, Any]:
    """What a module shows of itself; tensors are copies, so two observations can be compared."""
    named = sorted(model.named_parameters(remove_duplicate=False), key=lambda pair: pair[0])
    cells = [id(p) for _, p in named]
    memory = [p.data_ptr() for _, p in named]
    state = model.state_dict()
    listed = [state[name].data_ptr() for name, _ in named if name in state]
    return {
        "names": [name for name, _ in named],
        "cells": [cells.index(cell) for cell in cells],
        "memory": [memory.index(pointer) for pointer in memory],
        "shapes": [tuple(p.shape) for _, p in named],
        "strides": [p.stride() for _, p in named],
        "dtypes": [str(p.dtype) for _, p in named],
        "requires_grad": [p.requires_grad for _, p in named],
        "leaves": all(type(p) is torch.nn.Parameter and p.is_leaf and p.grad_fn is None for _, p in named),
        "graded": [p.grad is not None for _, p in named],
        "grads": [p.grad.to_dense().tolist() for _, p in named if p.grad is not None],
        "hooks": sum(len(p._backward_hooks or ()) for _, p in named),
        "values": torch.cat([p.detach().reshape(-1) for _, p in named]),
        "versions": [p._version for _, p in named],
        "unique": sorted(cells.index(id(p)) for _, p in model.named_parameters()),
        "count": len(list(model.parameters())),
        "keys": sorted(state),
        "state_memory": [memory.index(pointer) if pointer in memory else -1 for pointer in listed],
        "modes": [m.training for m in model.modules()],
        "modules": [(path, type(m).__name__, m.training, m.extra_repr()) for path, m in model.named_modules()],
        "module_hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
    }


# -- how a model is built -------------------------------------------------------------------------------------------


class Structure(NamedTuple):
    """A tied model: its builder, and the paths of its embedding E, its head H and its other modules."""

    build: Callable[..., Module]
    paths: dict[str, tuple[str, ...]]


def pair(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> tuple[Module, Module]:
    """An embedding and a head with one weight, which was made for either of them."""
    rows, width = weight.shape
    head = torch.nn.Linear(width, rows, bias is not None, dtype=weight.dtype)
    if bias is not None:
        head.bias = torch.nn.Parameter(bias)
    if from_head:
        head.weight = torch.nn.Parameter(weight)
        embedding = torch.nn.Embedding(rows, width, dtype=weight.dtype, **flags)
        embedding.weight = head.weight
    else:
        embedding = torch.nn.Embedding(rows, width, _weight=weight, **flags)
        head.weight = embedding.weight
    return embedding, head


def flat(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    return torch.nn.ModuleDict({"embedding": embedding, "head": head})


def head_first(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    return torch.nn.ModuleDict({"a_head": head, "embedding": embedding})


def sequential(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    return torch.nn.Sequential(embedding, head)


def module_list(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    return torch.nn.ModuleList([torch.nn.Identity(), embedding, torch.nn.Dropout(0.5), head])


def nested(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    decoder = torch.nn.ModuleDict({"out": head})
    return torch.nn.ModuleDict({"encoder": torch.nn.Sequential(embedding), "decoder": decoder})


def three_way(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    third = torch.nn.Embedding(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    third.weight = head.weight
    return torch.nn.ModuleDict({"embedding": embedding, "head": head, "third": third})


def shared_module(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    return torch.nn.ModuleDict({"encoder": embedding, "decoder": embedding, "head": head})


def untied(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone())
    return torch.nn.ModuleDict({"embedding": embedding, "head": head})


def with_norm(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    norm = torch.nn.LayerNorm(weight.shape[1], dtype=weight.dtype)
    return torch.nn.ModuleDict({"embedding": embedding, "norm": norm, "head": head})


def one_frozen(weight: Tensor, bias: Tensor | None, flags: dict[str, Any], from_head: bool) -> Module:
    embedding, head = pair(weight, bias, flags, from_head)
    other = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight.clone(), _freeze=True)
    return torch.nn.ModuleDict({"embedding": embedding, "head": head, "other": other})


#: Where each structure has its embedding, its head and its other modules.
STRUCTURES: dict[str, Structure] = {
    "flat": Structure(flat, {"E": ("embedding",), "H": ("head",)}),
    "head_first": Structure(head_first, {"E": ("embedding",), "H": ("a_head",)}),
    "sequential": Structure(sequential, {"E": ("0",), "H": ("1",)}),
    "module_list": Structure(module_list, {"E": ("1",), "H": ("3",)}),
    "nested": Structure(nested, {"E": ("encoder.0",), "H": ("decoder.out",)}),
    "three_way": Structure(three_way, {"E": ("embedding",), "H": ("head",), "T": ("third",)}),
    "shared_module": Structure(shared_module, {"E": ("encoder", "decoder"), "H": ("head",)}),
    "untied": Structure(untied, {"E": ("embedding",), "H": ("head",)}),
    "with_norm": Structure(with_norm, {"E": ("embedding",), "N": ("norm",), "H": ("head",)}),
    "one_frozen": Structure(one_frozen, {"E": ("embedding",), "H": ("head",), "O": ("other",)}),
}
