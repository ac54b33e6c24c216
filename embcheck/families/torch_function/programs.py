"""Programs: a lookup's tensor is of a class, or is made under a mode, that overrides torch's functions.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Of the tensors by name and the flags: what comes out.
Call = Callable[[dict[str, Any], dict[str, Any]], Any]
OVERRIDDEN: dict[str, Call] = {}
_call = into(OVERRIDDEN)


@_call
def lookup(given: dict[str, Any], flags: dict[str, Any]) -> Any:
    return torch.nn.functional.embedding(given["input"], given["weight"], **flags)


@_call
def lookup_by_place(given: dict[str, Any], flags: dict[str, Any]) -> Any:
    names = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse")
    return torch.nn.functional.embedding(given["input"], given["weight"], *(flags[name] for name in names))


@_call
def layer(given: dict[str, Any], flags: dict[str, Any]) -> Any:
    rows, width = given["weight"].shape
    made = torch.nn.Embedding(rows, width, dtype=given["weight"].dtype, **flags)
    made.weight = torch.nn.Parameter(given["weight"], requires_grad=False)
    return made(given["input"])


@_call
def bag(given: dict[str, Any], flags: dict[str, Any]) -> Any:
    return torch.nn.functional.embedding_bag(**given, **flags)


@_call
def bag_layer(given: dict[str, Any], flags: dict[str, Any]) -> Any:
    given = dict(given)
    table = given.pop("weight")
    rows, width = table.shape
    made = torch.nn.EmbeddingBag(rows, width, dtype=table.dtype, **flags)
    made.weight = torch.nn.Parameter(table, requires_grad=False)
    return made(given.pop("input"), **given)


def embedding(
    input: Any, weight: Any, padding_idx: Any = None, max_norm: Any = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, sparse: bool = False,
) -> None:  # fmt: skip
    """The arguments of a lookup, as documented: whatever wraps torch's own function may have others."""


def embedding_bag(
    input: Any, weight: Any, offsets: Any = None, max_norm: Any = None, norm_type: float = 2.0,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False, per_sample_weights: Any = None,
    include_last_offset: bool = False, padding_idx: Any = None,
) -> None:  # fmt: skip
    """The arguments of a reduction of bags, as documented."""


def overridden(call: Call, by: str, flags: dict[str, Any], **given: Tensor | None) -> dict[str, Any]:
    known: dict[Any, Any] = {torch.nn.functional.embedding: embedding, torch.nn.functional.embedding_bag: embedding_bag}
    told: list[Any] = []

    def note(function: Any, args: Any, kwargs: dict[str, Any]) -> None:
        documented = known.get(function)
        if documented is not None:
            bound = inspect.signature(documented).bind(*args, **kwargs)
            bound.apply_defaults()
            seen = dict(bound.arguments)
            same = [name for name, tensor in given.items() if owner(seen.pop(name, None)) == owner(tensor)]
            told.append((documented.__name__, same, sorted(seen.items())))

    class TorchFunctionCase(torch.Tensor):
        @classmethod
        def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            note(func, args, kwargs or {})
            return super().__torch_function__(func, types, args, kwargs or {})  # type: ignore[no-untyped-call]

    class Watching(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            note(func, args, kwargs or {})
            return func(*args, **(kwargs or {}))

    if by == "mode":
        with Watching():
            value = call({name: tensor for name, tensor in given.items() if tensor is not None}, flags)
    else:
        classes = {
            name: t.as_subclass(TorchFunctionCase) if name == by and t is not None else t for name, t in given.items()
        }
        value = call({name: tensor for name, tensor in classes.items() if tensor is not None}, flags)
    return {"told": told, "overriding": type(value) is TorchFunctionCase}


def owner(tensor: Tensor | None) -> Any:
    return None if tensor is None else (tensor.data_ptr(), tensor.shape)
