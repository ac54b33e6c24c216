"""Looks: a lookup as a function of table and tokens, which transforms differentiate and map.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
Look = Callable[[Tensor, Tensor], Tensor]

LOOKS: dict[str, Callable[..., Look]] = {}


_look = into(LOOKS)


@_look
def functional(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    return lambda table, tokens: torch.nn.functional.embedding(tokens, table, **flags)


class Unchanged:
    """What must hold after a call that may have been refused: the layer has its own weight, as it was."""

    def __init__(self, layer: torch.nn.Embedding) -> None:
        self.layer, self.own = layer, layer.weight
        self.before = layer.weight.data_ptr(), layer.weight._version

    def __enter__(self) -> None:
        pass

    def __exit__(self, *reason: object) -> None:
        assert self.layer.weight is self.own, "the layer has another weight"
        assert (self.own.data_ptr(), self.own._version) == self.before, "the layer's weight was written"


@_look
def functional_call(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer = torch.nn.Embedding(rows, width, dtype=dtype, **flags)

    def look(table: Tensor, tokens: Tensor) -> Tensor:
        with Unchanged(layer):
            found: Tensor = torch.func.functional_call(layer, {"weight": table}, (tokens,))
            return found

    return look


@_look
def functional_call_parts(rows: int, width: int, dtype: torch.dtype, flags: dict[str, Any]) -> Look:
    layer = torch.nn.Embedding(rows, width, dtype=dtype, **flags)
    nothing: dict[str, Tensor] = {}

    def look(table: Tensor, tokens: Tensor) -> Tensor:
        with Unchanged(layer):
            given = (nothing, {"weight": table})
            found: Tensor = torch.func.functional_call(layer, given, (), {"input": tokens}, strict=True)
            return found

    return look
