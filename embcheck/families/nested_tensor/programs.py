"""Programs: lookups and bags of nested tensors of tokens."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named

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


def parts_of(values: Tensor, lengths: list[int]) -> list[Tensor]:
    return [part.clone() for part in values.split(lengths)]


def holes(values: Tensor, lengths: list[int]) -> Tensor:
    """Behind each component lies one token more, which is of none."""
    wide = torch.cat([torch.cat([part, part.new_zeros((1, *part.shape[1:]))]) for part in parts_of(values, lengths)])
    ends = torch.tensor([0, *(length + 1 for length in lengths)]).cumsum(0)
    return torch.nested.nested_tensor_from_jagged(wide, ends, lengths=torch.tensor(lengths))


MADE: dict[str, Make] = named(
    {
        "components": lambda values, sizes: torch.nested.nested_tensor(parts_of(values, sizes), layout=torch.jagged),
        "from_offsets": lambda values, sizes: torch.nested.nested_tensor_from_jagged(
            values, torch.tensor([0, *sizes]).cumsum(0)
        ),
        "holes": holes,
    }
)


def nested(
    make: Make,
    lengths: tuple[int, ...],
    columns: int,
    reduced: str,
    flags: dict[str, Any],
    table: Tensor,
    tokens: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # nested tensors are a prototype
        given = make(tokens.reshape(-1, columns) if columns else tokens, list(lengths))
    leaf = table.detach().requires_grad_()
    if reduced == "lookup":
        value = torch.nn.functional.embedding(given, leaf, **flags)
    else:
        value = torch.nn.functional.embedding_bag(given, leaf, mode=reduced, **flags)
    shapes = [tuple(part.shape) for part in (value.detach().unbind() if reduced == "lookup" else [value])]
    flat = (value.values() if reduced == "lookup" else value).reshape(-1, table.shape[1])
    (flat * upstream).sum().backward()
    return {
        "is_nested": value.is_nested,
        "shapes": shapes,
        "value": flat.detach(),
        "weight_grad": None if leaf.grad is None else leaf.grad.to_dense(),
        "sparse": leaf.grad is not None and leaf.grad.is_sparse,
    }
