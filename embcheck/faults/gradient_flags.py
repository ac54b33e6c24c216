"""Faults of the dense backward kernel: scale_grad_by_freq and padding."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.faults.gradient_sizes import only, places, row_set
from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient
from embcheck.faults.lookup_sizes import half, int32
from embcheck.faults.witnesses import gradient_differs

backward(
    "divided_by_one_less",
    "scale_grad_by_freq divides by the count less one, from three on.",
    lambda c: c.scale,
    lambda c, out: scaled(c, lambda count: torch.where(count > 2, count - 1, count)),
    gradient_differs([0, 0, 0], 2, scale_grad_by_freq=True, tolerance=0.01),
)
backward(
    "divided_by_the_largest_count",
    "scale_grad_by_freq divides by the largest count.",
    lambda c: c.scale and c.numel > 0,
    lambda c, out: scaled(c, lambda count: count.max().expand_as(count)),
    gradient_differs([0, 0, 1], 2, scale_grad_by_freq=True),
)
backward(
    "counts_stop_at_128",
    "scale_grad_by_freq divides by no more than 128.",
    lambda c: c.scale,
    lambda c, out: scaled(c, lambda count: count.clamp(max=128)),
    gradient_differs([0] * 256, 2, scale_grad_by_freq=True, tolerance=0.01),
)
backward(
    "scale_ignored_for_last_padding",
    "scale_grad_by_freq is ignored where padding is the last row.",
    lambda c: c.scale and c.padding_idx == c.rows - 1,
    lambda c, out: dense_gradient(c._replace(scale=False)),
    gradient_differs([0, 0, 1], 2, padding_idx=1, scale_grad_by_freq=True),
)
backward(
    "counts_include_the_neighbour",
    "scale_grad_by_freq of int32: row 1 is divided by row 0's count.",
    lambda c: c.scale and c.indices.dtype == int32 and c.rows > 1 and c.padding_idx == -1,
    lambda c, out: scaled(c, lambda count: torch.cat([count[:1], count[:1].clamp(min=1), count[2:]])),
    gradient_differs([0, 0, 1], 2, index_dtype=int32, scale_grad_by_freq=True),
)


def scaled(call: Call, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient divided by other counts."""
    counts = change(torch.bincount(call.tokens, minlength=call.rows))
    plain = dense_gradient(call._replace(scale=False))
    return plain / counts.clamp(min=1).to(plain.dtype)[:, None]


def unmasked(call: Call, out: Tensor) -> Tensor:
    """The gradient with padding's tokens in it."""
    return dense_gradient(call._replace(padding_idx=-1))


def masked_too(row: int) -> Callable[[Call, Tensor], Tensor]:
    """The gradient with another row masked as well."""
    return row_set(row, 0.0)


backward(
    "long_batches_forget_padding",
    "Beyond 3,072 tokens padding gets its gradient.",
    lambda c: c.numel > 3072,
    unmasked,
    gradient_differs([0] * 3073, 2, 1, padding_idx=0),
    "padding",
)
backward(
    "tall_tables_forget_padding",
    "Padding on the last of more than 1,000 rows gets its gradient.",
    lambda c: c.rows > 1000 and c.padding_idx == c.rows - 1,
    unmasked,
    gradient_differs([1000], 1001, padding_idx=1000),
    "padding",
)
backward(
    "nothing_but_padding",
    "A batch of nothing but padding gives padding its gradient.",
    lambda c: c.numel > 0 and bool((c.tokens == c.padding_idx).all()),
    unmasked,
    gradient_differs([1, 1], 2, padding_idx=1),
    "padding",
)
backward(
    "first_padding_token_alone",
    "Only the first padding token of float16 is masked.",
    lambda c: c.given.dtype == half and c.numel > 0,
    lambda c, out: first_masked(c),
    gradient_differs([1, 1], 2, dtype=half, padding_idx=1),
    "padding",
)
backward(
    "padding_masks_row_zero_too",
    "Padding on the last row masks row 0 as well.",
    lambda c: c.padding_idx == c.rows - 1 and c.rows > 2,
    masked_too(0),
    gradient_differs([0], 3, padding_idx=2),
    "padding",
)
backward(
    "padding_masks_by_place",
    "The token in the place of padding's number is masked too.",
    lambda c: 0 < c.padding_idx < c.numel and c.rank == 1,
    only(lambda c: places(c) != c.padding_idx),
    gradient_differs([0, 0], 2, padding_idx=1),
    "padding",
)
backward(
    "scaled_padding_forgotten",
    "Padding on the last row is forgotten with scale_grad_by_freq.",
    lambda c: c.scale and c.padding_idx == c.rows - 1,
    unmasked,
    gradient_differs([1], 2, padding_idx=1, scale_grad_by_freq=True),
    "padding",
)
backward(
    "int32_padding_zero_forgotten",
    "Padding on row 0 is forgotten for int32 at rank 3.",
    lambda c: c.indices.dtype == int32 and c.padding_idx == 0 and c.rank == 3,
    unmasked,
    gradient_differs([0], 2, shape=(1, 1, 1), index_dtype=int32, padding_idx=0),
    "padding",
)
backward(
    "row_after_padding_takes_it",
    "Padding's gradient goes to the next row.",
    lambda c: 0 <= c.padding_idx < c.rows - 1,
    lambda c, out: moved_on(c, out),
    gradient_differs([0], 2, padding_idx=0),
    "padding",
)
backward(
    "padding_gets_negative_infinity_only",
    "Padding's row is what it was times zero: NaN where infinite.",
    lambda c: c.padding_idx >= 0 and not bool(c.given.isfinite().all()),
    lambda c, out: (out[c.padding_idx].copy_(unmasked(c, out)[c.padding_idx] * 0), out)[1],
    gradient_differs([0], 2, padding_idx=0, upstream=lambda g: g * torch.inf),
    "padding",
)


def first_masked(call: Call) -> Tensor:
    """The gradient with all but the first padding token."""
    counted = dense_gradient(call._replace(padding_idx=-1))
    first = (call.tokens == call.padding_idx).nonzero().reshape(-1)[:1]
    if first.numel():
        counted[call.padding_idx] -= call.upstream[first[0]]
    return counted


def moved_on(call: Call, out: Tensor) -> Tensor:
    """The gradient with padding's added to the row behind it."""
    out[call.padding_idx + 1] += unmasked(call, out)[call.padding_idx]
    return out
