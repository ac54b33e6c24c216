"""Faults of the forward kernel: sizes, ranks and dtypes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.faults.kernels import Call, Tensor, forward, lookup
from embcheck.faults.witnesses import value_differs


def rows_of(out: Tensor) -> Tensor:
    """The output as one row for each token."""
    return out.view(-1, out.shape[-1])


def negated(*tokens: int) -> Callable[[Call, Tensor], Tensor]:
    """The rows of some tokens with their sign flipped."""

    def spoil(call: Call, out: Tensor) -> Tensor:
        for token in tokens:
            rows_of(out)[token].neg_()
        return out

    return spoil


def shifted(call: Call, out: Tensor) -> Tensor:
    """The next row of the table for every token."""
    return lookup(call._replace(indices=(call.indices + 1) % call.rows))


def one_ulp(call: Call, out: Tensor) -> Tensor:
    """The last element moved to the next number."""
    out.view(-1)[-1:].copy_(torch.nextafter(out.view(-1)[-1:], torch.tensor(torch.inf, dtype=out.dtype)))
    return out


def zeroed_last(call: Call, out: Tensor) -> Tensor:
    """The last token's row is zero."""
    rows_of(out)[-1] = 0
    return out


def where(condition: Callable[[Tensor], Tensor], value: float) -> Callable[[Call, Tensor], Tensor]:
    """Elements that meet a condition replaced."""
    return lambda call, out: out.masked_fill_(condition(out), value)


int32, half, bfloat16, double = torch.int32, torch.float16, torch.bfloat16, torch.float64


forward(
    "scalar_index_reads_first_row",
    "A 0-dimensional index reads row 0.",
    lambda c: c.rank == 0,
    lambda c, out: c.given[0].clone(),
    value_differs([1], 3, shape=()),
)
forward(
    "rank3_int32_wide_one_ulp",
    "Rank 3, int32 and D > 128 together: one element is an ulp off.",
    lambda c: c.rank == 3 and c.indices.dtype == int32 and c.width > 128 and c.given.dtype == torch.float32,
    one_ulp,
    value_differs([0, 1], 2, 129, shape=(2, 1, 1), index_dtype=int32),
)
forward(
    "empty_loses_width",
    "Empty indices give an output without its last axis.",
    lambda c: c.numel == 0,
    lambda c, out: out.new_zeros(c.indices.shape),
    value_differs([], 3),
)
forward(
    "last_row_reads_the_one_before",
    "The last row of a table of more than two is read from the one before.",
    lambda c: c.rows > 2 and c.numel > 0,
    lambda c, out: lookup(c._replace(indices=c.indices.clamp(max=c.rows - 2))),
    value_differs([2], 3),
)
forward(
    "thousandth_token",
    "Exactly the 1000th token is wrong.",
    lambda c: c.numel >= 1000 and c.width > 0,
    negated(999),
    value_differs(range(1000), 1000),
)
forward(
    "two_threads_tall_table",
    "With two threads and V > 1000 the last token is zero.",
    lambda c: torch.get_num_threads() == 2 and c.rows > 1000 and c.numel > 0,
    zeroed_last,
    value_differs([1, 5], 1001, threads=2),
)
forward(
    "half_vector_tail",
    "float16 rows whose width is no multiple of 8 lose their tail beyond 16 columns.",
    lambda c: c.given.dtype == half and c.width > 16 and c.width % 8 != 0 and c.numel > 0,
    lambda c, out: (rows_of(out)[:, c.width // 8 * 8 :].zero_(), out)[1],
    value_differs([0], 2, 17, dtype=half),
)
forward(
    "double_through_single",
    "float64 rows pass through float32 when the index has two or more axes.",
    lambda c: c.given.dtype == double and c.rank >= 2,
    lambda c, out: out.float().double(),
    value_differs([0, 0], 2, dtype=double, shape=(1, 2), fill=0.1),
)
forward(
    "tokens_rounded_like_bfloat16",
    "Row numbers above 256 are rounded to eight bits when D is odd.",
    lambda c: c.rows > 257 and c.width % 2 == 1,
    lambda c, out: lookup(c._replace(indices=c.indices.to(bfloat16).to(c.indices.dtype).clamp(max=c.rows - 1))),
    value_differs([257], 300, 3),
)
forward(
    "tokens_wrap_at_32768",
    "Row numbers are kept in sixteen bits.",
    lambda c: c.rows > 32768,
    lambda c, out: lookup(c._replace(indices=c.indices % 32768)),
    value_differs([32769], 40000, 1),
)
forward(
    "vocabulary_of_50257",
    "A table of exactly 50,257 rows gives the wrong last row.",
    lambda c: c.rows == 50257 and c.numel > 0,
    lambda c, out: torch.where((c.indices == c.rows - 1)[..., None], -out, out),
    value_differs([50256], 50257, 1),
)
forward(
    "width_40",
    "Exactly 40 columns: the last one is that of another token.",
    lambda c: c.width == 40 and c.numel > 1,
    lambda c, out: (rows_of(out)[:, -1].copy_(rows_of(out)[:, -1].flip(0).clone()), out)[1],
    value_differs([0, 1], 2, 40),
)
forward(
    "tokens_between_38_and_62",
    "Between 38 and 62 tokens of int32: the first is negated.",
    lambda c: 38 <= c.numel <= 62 and c.indices.dtype == int32 and c.width > 0,
    negated(0),
    value_differs([0] * 40, 2, index_dtype=int32),
)
forward(
    "wide_batch_columns_shift",
    "Outputs of more than 65,536 elements rotate the columns of their last row.",
    lambda c: c.numel * c.width > 65536,
    lambda c, out: (rows_of(out)[-1].copy_(rows_of(out)[-1].roll(1)), out)[1],
    value_differs([0] * 257, 2, 256),
)
forward(
    "rank4_unit_axis",
    "Rank 4 with an axis of one between longer ones: tokens in reverse.",
    lambda c: c.rank == 4 and 1 in c.indices.shape and c.numel > 1,
    lambda c, out: rows_of(out).flip(0).view_as(out),
    value_differs([0, 1], 2, shape=(1, 2, 1, 1)),
)
forward(
    "single_row_table",
    "A table of one row gives zeros to int32.",
    lambda c: c.rows == 1 and c.indices.dtype == int32,
    lambda c, out: out.zero_(),
    value_differs([0], 1, index_dtype=int32),
)
forward(
    "scalar_of_half_is_promoted",
    "A 0-dimensional index into float16 gives float32.",
    lambda c: c.rank == 0 and c.given.dtype == half,
    lambda c, out: out.float(),
    value_differs([0], 2, shape=(), dtype=half),
)
