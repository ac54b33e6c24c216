"""Faults of quantized tables: wrong numbers, widths and copies, and refusals that don't come."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.ao.nn.quantized
import torch.ao.quantization

from selfcheck.fault import fault, patched

quantized: Any = torch.ao.nn.quantized


def layer() -> Any:
    """A quantized table of four rows."""
    plain: Any = torch.nn.Embedding.from_pretrained(torch.arange(32.0).reshape(4, 8))
    plain.qconfig = torch.ao.quantization.float_qparams_weight_only_qconfig
    return quantized.Embedding.from_float(plain)


def looked_up(of: Any, *tokens: int) -> Any:
    """What a layer gives, or None if it refuses."""
    try:
        return of(torch.tensor(tokens))
    except RuntimeError:
        return None


def forwarded(change: Callable[..., Any]) -> Any:
    """`forward` of a quantized Embedding, changed."""
    original = quantized.Embedding.forward
    return patched(quantized.Embedding, forward=lambda self, indices: change(original, self, indices))


@fault("quantized_embedding", lambda: looked_up(layer(), 1).shape[-1] == 7)
def quantized_rows_lose_a_column() -> Iterator[None]:
    """A quantized table leaves the last column out."""
    with forwarded(lambda original, self, indices: original(self, indices)[..., :-1]):
        yield


@fault("quantized_embedding", lambda: looked_up(layer(), 9) is not None)
def quantized_strays_are_wrapped() -> Iterator[None]:
    """A quantized table takes a token outside of it for one inside."""
    with forwarded(lambda original, self, indices: original(self, indices % self.num_embeddings)):
        yield


@fault("quantized_embedding", lambda: looked_up(layer(), 1) is None)
def quantized_single_tokens_are_refused() -> Iterator[None]:
    """A quantized table refuses to look up one token."""

    def forward(original: Any, self: Any, i: Any) -> Any:
        if i.numel() == 1 and 0 <= int(i) < self.num_embeddings:
            raise RuntimeError("expected more than one token")
        return original(self, i)

    with forwarded(forward):
        yield


def copies_differ() -> bool:
    """Whether a copied layer gives another row."""
    plain = layer()
    return not torch.equal(looked_up(plain, 1), looked_up(copy.deepcopy(plain), 1))


@fault("quantized_embedding", copies_differ)
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
