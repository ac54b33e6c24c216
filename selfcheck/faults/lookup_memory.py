"""Faults of the forward kernel: how memory is read, shared and written."""

from __future__ import annotations

from selfcheck.faults.kernels import forward

forward(
    "whole_table_gives_the_table",
    "A single token of a table of one row gives the table's own memory.",
    lambda c: c.rows == 1 and c.numel == 1 and c.given.is_contiguous() and c.width > 0,
    lambda c, out: c.given.detach().view(out.shape),
)
