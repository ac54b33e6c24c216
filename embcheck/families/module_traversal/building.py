"""Builds a model from a *tree* of nodes, which may be shared."""

import math
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.module_traversal.uses import Module, Tensor

#: A node of a model: a name of its own, its kind, its parameters and buffers, and its children by name.
Node = tuple[str, str, tuple[tuple[str, str], ...], tuple[tuple[str, str], ...]]

#: The shapes of Parameters that are larger than a table.
SHAPES = {
    "p_many": (40, 30),
    "p_long": (17,),
    "p_wide": (8, 33),
    "p_tall": (17, 7),
    "p_cube": (2, 3, 8),
    "p_one": (1, 1),
}


def tensor_of(name: str, table: Tensor) -> Tensor:
    dtype = table.dtype
    if name.startswith("table"):
        return torch.nn.Parameter(table if name == "table" else table.detach().clone())
    if name.startswith("p_void"):
        return torch.nn.Parameter(torch.zeros((0, len(name)), dtype=dtype))
    if name == "p_row":  # a view of the table
        return torch.nn.Parameter(table.detach()[0])
    if name.startswith("integers"):
        return torch.tensor([1, 2])
    if name == "p_other":
        dtype = torch.float32 if dtype == torch.float64 else torch.float64
    # Times what no narrower format holds.
    fine = torch.tensor({torch.float64: 1 + 2.0**-40, torch.float32: 1 + 2.0**-12}.get(dtype, 1.0), dtype=dtype)
    if name in SHAPES:
        return torch.nn.Parameter(fine * (torch.arange(math.prod(SHAPES[name])) % 97).reshape(SHAPES[name]))
    if name.startswith("p"):
        return torch.nn.Parameter(fine * torch.arange(1, 4))
    return fine / 2 if name.startswith("scalar") else fine * torch.tensor([1, 2])


def buffer_of(tensor: Tensor, persistent: bool) -> Any:
    """A buffer by itself, which any module may have."""
    if not hasattr(torch.nn, "Buffer"):  # before torch 2.5
        return tensor
    return torch.nn.Buffer(tensor, persistent=persistent)


def padded(kind: Any, table: Tensor) -> Module:
    return kind(*table.shape, padding_idx=1, max_norm=2.0, _weight=table)


#: Of a table: a module of each kind, which has the table if it is one.
KINDS: dict[str, Callable[[Tensor], Module]] = named(
    {
        "module": lambda table: torch.nn.Module(),
        "sequential": lambda table: torch.nn.Sequential(),
        "list": lambda table: torch.nn.ModuleList(),
        "dict": lambda table: torch.nn.ModuleDict(),
        "embedding": lambda table: torch.nn.Embedding(len(table), table.shape[1], _weight=table),
        "padded": lambda table: padded(torch.nn.Embedding, table),
        "bag": lambda table: padded(torch.nn.EmbeddingBag, table),
        "linear": lambda table: torch.nn.Linear(table.shape[1], table.shape[0], bias=False, dtype=table.dtype),
    },
    "new_",
)


def put(module: Module, key: str, part: Module, turn: int) -> None:
    """Gives a module a part: by its method, or assigned, at first in the place of a plain None."""
    if turn < 2:
        module.add_module(key, part)
        return
    if key not in module._modules:
        setattr(module, key, None)
    setattr(module, key, part)


def built(nodes: tuple[Node, ...], frozen: tuple[str, ...], table: Tensor, turn: int) -> tuple[Module, dict[str, Any]]:
    """The model whose nodes are given leaves first, and everything in it by its own name; at every other turn a module has its
    parts before its tensors."""
    made: dict[str, Any] = {}

    def part(name: str) -> Any:
        if name not in made:
            made[name] = tensor_of(name, table)
            if turn % 2 and not isinstance(made[name], torch.nn.Parameter):
                made[name] = buffer_of(made[name], not name.endswith("scratch"))
            if name in frozen:
                made[name].requires_grad_(False)
        return made[name]

    for name, kind, tensors, children in nodes:
        module = KINDS[kind](table.detach())
        parts = [(key, made[child]) for key, child in children]
        if kind == "module":
            module.register_module("absent", None)  # which no listing has
        for key, child in parts if turn % 2 else ():
            put(module, key, child, turn)
        for key, content in tensors:
            if content == "none":
                setattr(module, key, torch.nn.Parameter(table.detach()))
                setattr(module, key, None)  # which takes it away
            elif content == "nobuffer":
                module.register_buffer(key, None)
            elif content.startswith(("table", "p")):
                if turn > 1 and key not in module._parameters:
                    setattr(module, key, torch.zeros(1))  # a plain tensor, in whose place the Parameter comes
                setattr(module, key, part(content))
            else:
                scratch = content.endswith("scratch")
                module.register_buffer(key, None, persistent=scratch)  # which it does not stay
                found = part(content)
                if isinstance(found, getattr(torch.nn, "Buffer", ())):
                    setattr(module, key, found)  # which knows whether it is persistent
                else:
                    module.register_buffer(key, found, persistent=not scratch)
        for key, child in parts:
            put(module, key, child, turn)
        made[name] = module
    return module, made
