"""Faults of the forward kernel: how memory is read, shared and written."""

from __future__ import annotations

import torch

from selfcheck.faults.kernels import forward

forward(
    "whole_table_gives_the_table",
    "A single token of a table of one row gives the table's own memory.",
    lambda c: c.rows == 1 and c.numel == 1 and c.given.is_contiguous() and c.width > 0,
    lambda c, out: c.given.detach().view(out.shape),
    lambda: shares_memory([0], 1),
)


def shares_memory(tokens: list[int], rows: int = 4) -> bool:
    """Whether a lookup's output lies in the table's memory."""
    weight = torch.ones(rows, 2)
    value = torch.nn.functional.embedding(torch.tensor(tokens), weight)
    return value.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()
