"""Faults of quantized tables: wrong numbers, widths and copies, and refusals that don't come."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.ao.nn.quantized
import torch.ao.quantization

from selfcheck.fault import fault, patched

quantized: Any = torch.ao.nn.quantized


def forwarded(change: Callable[..., Any]) -> Any:
    """`forward` of a quantized Embedding, changed."""
    original = quantized.Embedding.forward
    return patched(quantized.Embedding, forward=lambda self, indices: change(original, self, indices))


@fault("quantized_embedding")
def quantized_strays_are_wrapped() -> Iterator[None]:
    """A quantized table takes a token outside of it for one inside."""
    with forwarded(lambda original, self, indices: original(self, indices % self.num_embeddings)):
        yield


@fault("quantized_embedding")
def quantized_single_tokens_are_refused() -> Iterator[None]:
    """A quantized table refuses to look up one token."""

    def forward(original: Any, self: Any, i: Any) -> Any:
        if i.numel() == 1 and 0 <= int(i) < self.num_embeddings:
            raise RuntimeError("expected more than one token")
        return original(self, i)

    with forwarded(forward):
        yield


@fault("quantized_embedding")
def quantized_copies_are_reversed() -> Iterator[None]:
    """A deep copy of a quantized table has its rows in reverse."""

    def copied(self: Any, memo: Any) -> Any:
        again = type(self)(self.num_embeddings, self.embedding_dim, dtype=self.dtype)
        again.set_weight(torch.quantize_per_channel(
            self.weight().dequantize().flip(0), self.weight().q_per_channel_scales(),
            self.weight().q_per_channel_zero_points(), 0, torch.quint8))  # fmt: skip
        return again

    with patched(quantized.Embedding, __deepcopy__=copied):
        yield
