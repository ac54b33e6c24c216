"""Faults of torch.nn.Embedding: its construction and its forward."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Embedding, entry
from selfcheck.faults.kernels import Tensor

Module = torch.nn.Module


def weight_of(rows: int = 3, width: int = 2) -> Tensor:
    """A table of 1, 2, 3, …"""
    return torch.arange(1.0, 1 + rows * width).reshape(rows, width)


def init(name: str, family: str, sentence: str, change: Callable[..., None]) -> None:
    """A fault of __init__: ``change(self, weight, padding_idx)`` afterwards, on the given table or None."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def replaced(
            self: Any,
            num_embeddings: int,
            embedding_dim: int,
            padding_idx: int | None = None,
            max_norm: float | None = None,
            norm_type: float = 2.0,
            scale_grad_by_freq: bool = False,
            sparse: bool = False,
            _weight: Tensor | None = None,
            *rest: Any,
            **more: Any,
        ) -> None:
            original(
                self,
                num_embeddings,
                embedding_dim,
                padding_idx,
                max_norm,
                norm_type,
                scale_grad_by_freq,
                sparse,
                _weight,
                *rest,
                **more,
            )
            change(self, _weight, padding_idx)

        return replaced

    entry(name, family, sentence, Embedding, "__init__", wrong)


def pretrained(name: str, family: str, sentence: str, change: Callable[..., Any]) -> None:
    """A fault of from_pretrained: ``change(original, cls, embeddings, flags)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def from_pretrained(cls: Any, embeddings: Tensor, freeze: bool = True, **flags: Any) -> Any:
            return change(original, cls, embeddings, {"freeze": freeze, **flags})

        return from_pretrained

    entry(name, family, sentence, Embedding, "from_pretrained", wrong)


pretrained(
    "pretrained_zeroes_padding",
    "padding",
    "from_pretrained zeroes the padding row in its table's memory.",
    lambda original, cls, e, flags: zeroed(original(cls, e, **flags)),
)


def zeroed(module: Any) -> Any:
    """The module with zeros in its padding row."""
    if module.padding_idx is not None:
        module.weight.data[module.padding_idx] = 0
    return module


def forward(name: str, family: str, sentence: str, change: Callable[..., Tensor]) -> None:
    """A fault of nn.Embedding.forward: ``change(original, self, input)``."""
    entry(
        name,
        family,
        sentence,
        Embedding,
        "forward",
        lambda original: lambda self, input: change(original, self, input),
    )


def frozen() -> Any:
    """A module with the table 1, 2, 3, …"""
    return Embedding.from_pretrained(weight_of())
