"""Faults of layers that are evaluated without a graph."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from selfcheck.fault import Fault, add, patched
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.mode_entry import last_token_zero, tokens_rolled

Change = Callable[[Any, Tensor, Tensor], Tensor]


def served(change: Change) -> Callable[[], Any]:
    """A plant: what an embedding in evaluation gives without a graph goes through ``change(layer, tokens, found)``."""

    @contextmanager
    def plant() -> Iterator[None]:
        right = torch.nn.Embedding.forward

        def forward(self: Any, input: Tensor) -> Tensor:
            found = right(self, input)
            return found if self.training or torch.is_grad_enabled() else change(self, input, found)

        with patched(torch.nn.Embedding, forward=forward):
            yield

    return plant


def kept(layer: Any, tokens: Tensor, found: Tensor) -> Tensor:
    """Rows of the table as it was when the layer was first asked."""
    table: Tensor = layer.__dict__.setdefault("kept_table", layer.weight.detach().clone())
    return table[tokens.long()]


_CHANGES: dict[str, tuple[str, Change]] = {
    "keeps_the_first_table": ("gives the rows of a table that has changed since", kept),
    "drops_the_last_token": ("gives zeros for the last token", lambda layer, tokens, found: last_token_zero(found)),
    "rolls_the_tokens": ("gives each token its predecessor's row", lambda layer, tokens, found: tokens_rolled(found)),
}
for _name, (_words, _change) in _CHANGES.items():
    add(
        Fault(
            f"serving_{_name}",
            "lookup",
            f"An embedding that is evaluated without a graph {_words}.",
            served(_change),
            modes=("serving",),
        )
    )
