"""Faults of nn.EmbeddingBag: its forward and from_pretrained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.bag_entries import Call
from selfcheck.faults.bags import Given
from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor

EmbeddingBag = torch.nn.EmbeddingBag


def pretrained_fault(name: str, sentence: str, change: Callable[[Given], Given]) -> None:
    """Registers a fault of nn.EmbeddingBag.from_pretrained: its keywords changed."""

    def replace(original: Call) -> Call:
        def from_pretrained(cls: type, embeddings: Tensor, freeze: bool = True, **keywords: Any) -> Any:
            given = change({"embeddings": embeddings, "freeze": freeze} | keywords)
            return original(cls, **given)

        return from_pretrained

    entry(name, "embedding_bag", sentence, EmbeddingBag, "from_pretrained", replace)


pretrained_fault(
    "bage_pretrained_learns", "from_pretrained does not freeze.",
    lambda g: g | {"freeze": False},
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_copies", "from_pretrained copies the table.",
    lambda g: g | {"embeddings": g["embeddings"].clone()},
)  # fmt: skip
pretrained_fault(
    "bage_pretrained_forgets_padding", "from_pretrained takes padding_idx=0 for none.",
    lambda g: g | {"padding_idx": g.get("padding_idx") or None},
)  # fmt: skip
