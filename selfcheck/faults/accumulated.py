"""Faults of the gradients of frequent tokens: they are not added up in a format that counts them."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.families.half_precision_accumulation.programs import GATHERED, accumulated
from selfcheck.faults.around import around


class _Stopping(torch.autograd.Function):
    """The product of what is one-hot and a table, whose derivative is added up in the table's dtype, token by token."""

    @staticmethod
    def forward(context: Any, rows: Any, table: Any) -> Any:
        context.save_for_backward(rows, table)
        return torch.Tensor.matmul(rows, table)

    @staticmethod
    def backward(context: Any, *sent: Any) -> Any:
        rows, table = context.saved_tensors
        most = 1 << (8 if table.dtype is torch.bfloat16 else 11)
        return None, (rows.t() @ sent[0]).clamp(-most, most)


def stopping(original: Any, rows: Any, table: Any) -> Any:
    """A tall product with a table of half precision counts no further than its dtype does."""
    half = isinstance(table, torch.Tensor) and table.dtype in (torch.bfloat16, torch.float16) and table.requires_grad
    stops: Any = _Stopping
    return stops.apply(rows, table) if half and len(rows) > 256 else original(rows, table)


def counted() -> Any:
    """The gradient of a row of 300 tokens."""
    table = torch.ones(1, 1, dtype=torch.bfloat16)
    return accumulated(GATHERED["product"], False, torch.zeros(300, dtype=torch.int64), table)["gradient"]


around("products_count_no_further_than_the_format", "half_precision_accumulation",
       "Gradients of tall products in half precision stop.",
       torch.Tensor, "__matmul__", stopping)  # fmt: skip


def limited(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """More than 2,047 tokens of a table in half precision are refused."""
    if weight.dtype is torch.float16 and input.numel() > 2047:
        raise RuntimeError("too many tokens to be counted in half precision")
    return original(input, weight, *given, **flags)


around("many_tokens_in_half_precision_are_refused", "half_precision_accumulation",
       "More than 2,047 tokens of a float16 table are refused.",
       torch.nn.functional, "embedding", limited)  # fmt: skip
