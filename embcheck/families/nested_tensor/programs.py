"""Programs: lookups and bags of nested tensors of tokens.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: Of the values of all components, and their lengths, a nested tensor.
Make = Callable[[Tensor, list[int]], Tensor]


def no_backward() -> str:
    """Why there are no cases: the nested tensors of a release before lookups of them had a derivative; else nothing."""
    try:
        from torch.nested._internal.ops import JAGGED_OPS_TABLE
    except ImportError:
        return "this release has no jagged nested tensors"
    backward = torch.ops.aten.embedding_dense_backward.default
    return "" if backward in JAGGED_OPS_TABLE else "this release's jagged nested tensors have no derivative of a lookup"


MADE: dict[str, Make] = {}
_made = into(MADE)


def parts_of(values: Tensor, lengths: list[int]) -> list[Tensor]:
    return [part.clone() for part in values.split(lengths)]


@_made
def components(values: Tensor, lengths: list[int]) -> Tensor:
    return torch.nested.nested_tensor(parts_of(values, lengths), layout=torch.jagged)


@_made
def as_nested(values: Tensor, lengths: list[int]) -> Tensor:
    return torch.nested.as_nested_tensor(parts_of(values, lengths), layout=torch.jagged)


@_made
def from_offsets(values: Tensor, lengths: list[int]) -> Tensor:
    ends = torch.tensor([0, *lengths]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(values, ends)


@_made
def from_lengths(values: Tensor, lengths: list[int]) -> Tensor:
    return torch.nested.nested_tensor_from_jagged(values, lengths=torch.tensor(lengths))


@_made
def holes(values: Tensor, lengths: list[int]) -> Tensor:
    """Behind each component lies one token more, which is of none."""
    wide = torch.cat([torch.cat([part, part.new_zeros((1, *part.shape[1:]))]) for part in parts_of(values, lengths)])
    ends = torch.tensor([0, *(length + 1 for length in lengths)]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(wide, ends, lengths=torch.tensor(lengths))


@_made
def narrowed(values: Tensor, lengths: list[int]) -> Tensor:
    """The beginnings of the rows of a padded batch."""
    longest = max(lengths) + 1
    padded = values.new_zeros((len(lengths), longest, *values.shape[1:]))
    for row, part in zip(padded, parts_of(values, lengths), strict=True):
        row[: len(part)] = part
    return torch.nested.narrow(padded, 1, 0, torch.tensor(lengths), layout=torch.jagged)


def alike(tokens: Tensor, values: Tensor, lengths: list[int]) -> tuple[Tensor, Tensor, list[int]]:
    """A nested tensor of the same structure that holds these values, the leaf below it, and where components begin."""
    given: Any = tokens
    inner = values.new_zeros(given.values().shape[0])
    starts = given.offsets()[:-1].tolist()
    for start, part in zip(starts, values.split(lengths), strict=True):
        inner[start : start + len(part)] = part
    inner.requires_grad_()
    return torch.nested.nested_tensor_from_jagged(inner, given.offsets(), lengths=given.lengths()), inner, starts


def nested(
    make: Make,
    alike: Callable[[Tensor, Tensor, list[int]], tuple[Tensor, Tensor, list[int]]],
    lengths: tuple[int, ...],
    columns: int,
    reduced: str,
    module: bool,
    flags: dict[str, Any],
    table: Tensor,
    tokens: Tensor,
    upstream: Tensor,
    weights: Tensor | None = None,
) -> dict[str, Any]:
    sizes = list(lengths)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        given = make(tokens.reshape(-1, columns) if columns else tokens, sizes)
        samples, inner, starts = (None, None, []) if weights is None else alike(given, weights, sizes)
    leaf = table.detach().requires_grad_()
    if module:
        rows, width = table.shape
        layer: Any = (
            torch.nn.Embedding(rows, width, _weight=leaf, **flags)
            if reduced == "lookup"
            else torch.nn.EmbeddingBag(rows, width, _weight=leaf, mode=reduced, **flags)
        )
        leaf = layer.weight
        value = layer(given) if samples is None else layer(given, per_sample_weights=samples)
    elif reduced == "lookup":
        value = torch.nn.functional.embedding(given, leaf, **flags)
    else:
        value = torch.nn.functional.embedding_bag(given, leaf, mode=reduced, per_sample_weights=samples, **flags)
    joined: Any = value
    shapes = [tuple(part.shape) for part in (value.detach().unbind() if reduced == "lookup" else [value])]
    flat = (joined.values() if reduced == "lookup" else value).reshape(-1, table.shape[1])
    (flat * upstream).sum().backward()
    seen = {
        "is_nested": value.is_nested,
        "shapes": shapes,
        "value": flat.detach(),
        "weight_grad": None if leaf.grad is None else leaf.grad.to_dense(),
        "sparse": leaf.grad is not None and leaf.grad.is_sparse,
    }
    if inner is not None:
        places = [slice(start, start + size) for start, size in zip(starts, sizes, strict=True)]
        seen["sample_grad"] = None if inner.grad is None else torch.cat([inner.grad[place] for place in places])
    return seen
