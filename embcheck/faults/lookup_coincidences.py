"""Faults of F.embedding where sizes, tokens or memory happen to agree: each axis alone is as usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import embedding, functional, out_changed
from embcheck.faults.kernels import Tensor

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64
When = Callable[[Tensor, Tensor, dict[str, Any]], bool]


def look(
    tokens: Any, rows: int, width: int = 2, *, dtype: torch.dtype = torch.float32, index_dtype: torch.dtype = int64,
    learns: bool = False, **flags: Any,
) -> Callable[[], Tensor]:  # fmt: skip
    """A probe: a lookup in a table of small numbers."""

    def probe() -> Tensor:
        weight = torch.arange(rows * width).reshape(rows, width).to(dtype).requires_grad_(learns)
        return functional.embedding(torch.tensor(tokens, dtype=index_dtype), weight, **flags)

    return probe


def forward(name: str, sentence: str, when: When, spoil: Callable[..., Tensor], witness: Callable[[], bool]) -> None:
    """Registers a fault of the output: ``spoil(out, input, weight)`` when ``when(input, weight, flags)``."""
    usual: When = lambda i, w, f: not torch.compiler.is_compiling() and w.dim() == 2 and when(i, w, f)  # noqa: E731
    embedding(name, "lookup", sentence, out_changed(usual, spoil), witness)


def flat(input: Tensor) -> list[int]:
    """The tokens in a row."""
    tokens: list[int] = input.detach().reshape(-1).tolist()
    return tokens
