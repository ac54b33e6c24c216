"""Programs: models with tied weights, and what may happen to them.

An operation is a function ``(model, embedding, head) -> model`` (see `embcheck.families.tie_preservation.operations`).
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from embcheck.core.registry import named
from embcheck.families.lr_scheduler.programs import raises

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Operation = Callable[[Module, Module, Module], Module]


def live(
    build: Callable[..., Module],
    acts: tuple[Operation, ...],
    watched: bool,
    places: tuple[str, str],
    flags: dict[str, Any],
    from_head: bool,
    weight: Tensor,
    bias: Tensor | None = None,
    **given: Tensor,
) -> dict[str, Any]:
    model = build(weight, bias, flags, from_head)
    modules = [(path, type(module).__name__, module.extra_repr()) for path, module in model.named_modules()]
    left: list[tuple[Module, dict[str, Any]]] = []
    trail: list[dict[str, Any]] = []
    table, out = map(model.get_submodule, places)
    for act in acts:
        after = act(model, table, out)
        if after is not model:
            left.append((model, observe(model)))
        model = after
        table, out = map(model.get_submodule, places)
        if watched:
            trail.append(watch(model, table, out, given) | {"left_alone": unchanged(left)})
    seen = observe(model)
    seen |= {
        "trail": trail,
        "same_module": not left,
        "kept": modules == [(path, kind, said) for path, kind, _, said in seen["modules"]],
        **learned(model, table, out, given),
        **called(table, out, given["indices"]),
    }
    named = listed(model)
    with torch.no_grad():
        table.weight.fill_(7.0)
        seen |= {"filled": joined(named), "left_alone": unchanged(left)}
        for old, _ in left:
            for parameter in old.parameters():
                parameter.fill_(9.0)
    return seen | {"filled_there": joined(named)}


def listed(model: Module) -> list[tuple[str, Tensor]]:
    """The Parameters under all of their names, sorted; an AssertionError if they were not in the order of the modules."""
    named = list(model.named_parameters(remove_duplicate=False))
    modules = model.named_modules(remove_duplicate=False)
    names = [f"{path}.{name}".lstrip(".") for path, m in modules for name, p in m._parameters.items() if p is not None]
    if [name for name, _ in named] != names:
        raise AssertionError(f"named_parameters() lists {[name for name, _ in named]}, but the modules have {names}")
    return sorted(named, key=lambda pair: pair[0])


def joined(named: list[tuple[str, Tensor]]) -> Tensor:
    return torch.cat([parameter.detach().reshape(-1) for _, parameter in named])


def collected(grads: list[Tensor | None], dtype: torch.dtype) -> dict[str, Any]:
    """Which Parameters have a gradient, and these."""
    parts = [grad.to_dense().reshape(-1) for grad in grads if grad is not None]
    return {
        "collected": [grad is not None for grad in grads],
        "collected_grads": torch.cat(parts) if parts else torch.zeros(0, dtype=dtype),
    }


def outputs(table: Module, out: Module, given: dict[str, Tensor]) -> tuple[dict[str, Any], list[Tensor], list[Tensor]]:
    """What the embedding and the head give, those of it that have a graph, and what arrives at them."""
    dtype = out.weight.dtype
    found, logits = table(given["indices"]), out(given["hidden"].to(dtype))
    pairs = [(found, given["upstream"].to(dtype)), (logits, given["upstream_head"].to(dtype))]
    pairs = [pair for pair in pairs if pair[0].requires_grad]
    seen = {"found": found.detach().clone(), "logits": logits.detach().clone()}
    return seen, [end for end, _ in pairs], [sent for _, sent in pairs]


def learned(model: Module, table: Module, out: Module, given: dict[str, Tensor]) -> dict[str, Any]:
    """What a model gives, what it learns of that, and what a step makes of it."""
    model.zero_grad()
    gone = all(p.grad is None for p in model.parameters())
    seen, ends, sent = outputs(table, out, given)
    if ends:
        torch.autograd.backward(ends, sent)
    named = listed(model)
    grads = [p.grad for _, p in named]
    seen |= {"grads_gone": gone, **collected(grads, out.weight.dtype)}
    if any(grad is not None for grad in grads):
        # Parameters may share memory: all at once, as is the default on a device, they would be written at the same time.
        torch.optim.SGD(model.parameters(), lr=0.5, foreach=False).step()
    return seen | {"stepped": joined(named)}


def called(table: Module, out: Module, indices: Tensor) -> dict[str, Any]:
    """What the two give as one model that is called with ones for its weight; and what functional_call must refuse."""
    chain, call = torch.nn.Sequential(table, out), torch.func.functional_call
    ones = torch.ones_like(out.weight)
    doubled = {"0.weight": ones}
    everything = dict(chain.named_parameters(remove_duplicate=False))
    plain = chain(indices)
    taken: list[Any] = []
    given: Any
    for given in (everything, {}, {**everything, "nobody": out.weight}):
        try:
            strictly = call(chain, given, (indices,), tie_weights=False, strict=True)
            taken.append(torch.equal(strictly, plain))
        except RuntimeError:
            taken.append(None)
    twice: tuple[Any, ...] = ((doubled, doubled), {**doubled, "1.weight": 2 * ones})
    refused = [raises(ValueError, functools.partial(call, chain, given, (indices,))) for given in twice]
    return {
        "replaced": call(chain, doubled, (indices,)).detach(),
        "replaced_by_head": call(chain, {"1.weight": ones}, (indices,)).detach(),
        "replaced_alone": call(chain, doubled, (indices,), tie_weights=False).detach(),
        "strict": taken == [True, None, None],
        "refuses_repeats": refused[0],
        # Of one Parameter that has two names; two Parameters may have two values.
        "refuses_two_values": refused[1] is (len(everything) > len(list(chain.parameters()))),
    }


def watch(model: Module, table: Module, out: Module, given: dict[str, Tensor]) -> dict[str, Any]:
    """What a module shows of itself and how it behaves, all of which is taken back."""
    seen = observe(model)
    named = listed(model)
    slots = torch.optim.SGD(model.parameters(), lr=0.5).param_groups[0]["params"]
    seen["slots"] = [[id(p) for _, p in named].index(id(slot)) for slot in slots]
    found, ends, sent = outputs(table, out, given)
    trained = {id(p): p for _, p in named if p.requires_grad}
    grads: dict[int, Tensor | None] = {}
    if ends:
        found_grads = torch.autograd.grad(ends, list(trained.values()), sent, allow_unused=True)
        grads = dict(zip(trained, found_grads, strict=True))
    seen |= found | collected([grads.get(id(p)) for _, p in named], out.weight.dtype)
    with torch.no_grad():
        for name, side, value in (("filled", table.weight, 7.0), ("filled_head", out.weight, 5.0)):
            kept = side.detach().clone()
            side.fill_(value)
            seen[name] = joined(named)
            side.copy_(kept)
    return seen


def unchanged(left: list[tuple[Module, dict[str, Any]]]) -> bool:
    """Whether the modules that were left behind show what they did."""
    return all(same_view(observe(old), kept) for old, kept in left)


def same_view(a: dict[str, Any], b: dict[str, Any]) -> bool:
    """Whether two observations are equal."""
    rest = [name for name in a if name != "values"]
    return torch.equal(a["values"], b["values"]) and [a[name] for name in rest] == [b[name] for name in rest]


def observe(model: Module) -> dict[str, Any]:
    """What a module shows of itself; tensors are copies, so two observations can be compared."""
    named = listed(model)
    cells = [id(p) for _, p in named]
    memory = [p.data_ptr() for _, p in named]
    state = model.state_dict()
    kept = [state[name].data_ptr() for name, _ in named if name in state]
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
        "values": joined(named),
        "versions": [p._version for _, p in named],
        "unique": sorted(cells.index(id(p)) for _, p in model.named_parameters()),
        "count": len(list(model.parameters())),
        "keys": sorted(state),
        "state_memory": [memory.index(pointer) if pointer in memory else -1 for pointer in kept],
        "modes": [m.training for m in model.modules()],
        "modules": [(path, type(m).__name__, m.training, m.extra_repr()) for path, m in model.named_modules()],
        "module_hooks": sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules()),
    }


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


def flat(embedding: Module, head: Module) -> Module:
    return torch.nn.ModuleDict({"embedding": embedding, "head": head})


def shared_module(embedding: Module, head: Module) -> Module:
    return torch.nn.ModuleDict({"encoder": embedding, "decoder": embedding, "head": head})


def nested(embedding: Module, head: Module) -> Module:
    decoder = torch.nn.ModuleDict({"out": head})
    return torch.nn.ModuleDict({"encoder": torch.nn.Sequential(embedding), "decoder": decoder})


def three_way(embedding: Module, head: Module) -> Module:
    third = torch.nn.Embedding(head.weight.shape[0], head.weight.shape[1], dtype=head.weight.dtype)
    third.weight = head.weight
    return torch.nn.ModuleDict({"embedding": embedding, "head": head, "third": third})


def untied(embedding: Module, head: Module) -> Module:
    embedding.weight = torch.nn.Parameter(embedding.weight.detach().clone())
    return flat(embedding, head)


def one_frozen(embedding: Module, head: Module) -> Module:
    other = torch.nn.Embedding.from_pretrained(head.weight.detach().clone())
    return torch.nn.ModuleDict({"embedding": embedding, "head": head, "other": other})


#: Where a structure has its embedding, its head and its other modules.
_FLAT: dict[str, tuple[str, ...]] = {"E": ("embedding",), "H": ("head",)}
STRUCTURES: dict[str, Structure] = {
    "flat": Structure(lambda *given: flat(*pair(*given)), _FLAT),
    "sequential": Structure(lambda *given: torch.nn.Sequential(*pair(*given)), {"E": ("0",), "H": ("1",)}),
    "nested": Structure(lambda *given: nested(*pair(*given)), {"E": ("encoder.0",), "H": ("decoder.out",)}),
    "three_way": Structure(lambda *given: three_way(*pair(*given)), _FLAT | {"T": ("third",)}),
    "shared_module": Structure(
        lambda *given: shared_module(*pair(*given)), {"E": ("encoder", "decoder"), "H": ("head",)}
    ),
    "untied": Structure(lambda *given: untied(*pair(*given)), _FLAT),
    "one_frozen": Structure(lambda *given: one_frozen(*pair(*given)), _FLAT | {"O": ("other",)}),
}
named({name: structure.build for name, structure in STRUCTURES.items()}, "built_")
