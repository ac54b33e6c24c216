"""Faults of how an nn.EmbeddingBag is made: its arguments, its first table, and tables that are given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

EmbeddingBag = torch.nn.EmbeddingBag
Parameter = torch.nn.Parameter


def made(name: str, sentence: str, spoil: Callable[[Any, Any], None]) -> None:
    """Registers a fault: ``spoil(layer, given table or None)`` after nn.EmbeddingBag.__init__."""

    def replace(original: Callable[..., None]) -> Callable[..., None]:
        def init(self: Any, *arguments: Any, **keywords: Any) -> None:
            original(self, *arguments, **keywords)
            given = keywords.get("_weight", arguments[7] if len(arguments) > 7 else None)
            with torch.no_grad():
                spoil(self, given)

        return init

    entry(name, "embedding_bag_module", sentence, EmbeddingBag, "__init__", replace)


def replaced(layer: Any, table: Tensor, learns: bool = True) -> None:
    """Another table for a layer."""
    layer.weight = Parameter(table, requires_grad=learns)


def filled(layer: Any, row: int | None, value: float) -> None:
    """A row of a layer's table overwritten."""
    if row is not None:
        layer.weight[row] = value


made(
    "bagl_padding_zero_is_none", "padding_idx=0 is not kept.",
    lambda layer, given: setattr(layer, "padding_idx", layer.padding_idx or None),
)  # fmt: skip
made(
    "bagl_given_padding_is_zeroed", "The padding row of a table that is given is set to zero.",
    lambda layer, given: filled(layer, None if given is None else layer.padding_idx, 0.0),
)  # fmt: skip
made(
    "bagl_given_is_copied", "A table that is given is copied.",
    lambda layer, given: None if given is None else replaced(layer, layer.weight.detach().clone()),
)  # fmt: skip
made(
    "bagl_uniform", "The table is drawn from U(-√3, √3), whose first two moments are those of N(0, 1).",
    lambda layer, given: None if given is not None else uniform(layer),
)  # fmt: skip
made(
    "bagl_has_a_buffer", "With padding the layer has a buffer.",
    lambda layer, given: None if layer.padding_idx is None else layer.register_buffer("mask", torch.ones(1)),
)  # fmt: skip
made(
    "bagl_sums_are_frozen", "A layer with mode='sum' does not learn.",
    lambda layer, given: None if layer.mode != "sum" or given is not None else replaced(layer, layer.weight.detach(), False),
)  # fmt: skip
made(
    "bagl_given_draws", "A table that is given costs random numbers.",
    lambda layer, given: None if given is None else drawn(),
)  # fmt: skip


def uniform(layer: Any) -> None:
    """Another distribution, without padding."""
    layer.weight.uniform_(-(3**0.5), 3**0.5)
    filled(layer, layer.padding_idx, 0.0)


def drawn() -> None:
    """A random number."""
    torch.rand(1)
