"""Faults of bags that show beyond some extent, after a call of another extent, or in one state of the layer."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry, functional
from selfcheck.faults.kernels import Tensor

Bag = torch.nn.EmbeddingBag
#: The arguments of F.embedding_bag behind the tokens and the table.
NAMES = ("offsets", "max_norm", "norm_type", "scale_grad_by_freq", "mode", "sparse", "per_sample_weights",
         "include_last_offset", "padding_idx")  # fmt: skip


def bag(name: str, sentence: str, wrong: Any, family: str = "embedding_bag") -> None:
    """A fault of F.embedding_bag: ``wrong(original, input, weight, flags)`` with what was given among the flags."""

    def replace(original: Wrong) -> Wrong:
        def replaced(input: Tensor, weight: Tensor, *rest: Any, **given: Any) -> Any:
            flags = dict(zip(NAMES, rest, strict=False)) | given
            swapped = weight.dtype == torch.int64 and input.is_floating_point()
            return original(input, weight, **flags) if swapped else wrong(original, input, weight, flags)

        return replaced

    entry(name, family, sentence, functional, "embedding_bag", replace)


# -- what must be refused; layers --------------------------------------------------------------------------------


def freezes_its_source(original: Wrong) -> Wrong:
    def from_pretrained(cls: Any, embeddings: Tensor, *given: Any, **named: Any) -> Bag:
        layer: Bag = original(cls, embeddings, *given, **named)
        if embeddings.requires_grad and embeddings.is_leaf and not layer.weight.requires_grad:
            embeddings.requires_grad_(False)
        return layer

    return from_pretrained


entry(
    "pretrained_bag_freezes_its_source",
    "embedding_bag_module",
    "EmbeddingBag.from_pretrained freezes the tensor that it is given.",
    Bag,
    "from_pretrained",
    freezes_its_source,
)
