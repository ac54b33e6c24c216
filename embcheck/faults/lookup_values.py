"""Faults of the forward kernel: special values, tokens and flags."""

from __future__ import annotations

import torch

from embcheck.faults.kernels import Call, Tensor, forward, lookup
from embcheck.faults.lookup_sizes import bfloat16, double, half, int32, negated, shifted, where
from embcheck.faults.witnesses import value_differs

_least = torch.finfo(torch.float32).smallest_normal / 2
forward(
    "subnormals_flushed",
    "Subnormal float32 numbers become zero.",
    lambda c: c.given.dtype == torch.float32,
    lambda c, out: torch.where(out.abs() < torch.finfo(torch.float32).smallest_normal, torch.zeros_like(out), out),
    value_differs([0], 2, fill=_least),
)
forward(
    "bfloat16_subnormals_flushed",
    "Subnormal bfloat16 numbers become zeros of their sign at rank 2.",
    lambda c: c.given.dtype == bfloat16 and c.rank == 2,
    lambda c, out: torch.where(
        out.abs() < torch.finfo(bfloat16).smallest_normal, torch.copysign(torch.zeros_like(out), out), out
    ),
    value_differs([0], 2, shape=(1, 1), dtype=bfloat16, fill=_least),
)
forward(
    "negative_zero_lost",
    "−0.0 becomes 0.0.",
    lambda c: True,
    lambda c, out: out + 0.0,
    value_differs([0], 2, fill=-0.0),
)
forward(
    "nan_payload_lost",
    "Every float32 NaN becomes the default one.",
    lambda c: c.given.dtype == torch.float32,
    where(torch.isnan, torch.nan),
    lambda: nan_changed(),
)


def nan_changed() -> bool:
    """Whether a NaN's payload is lost."""
    pattern = torch.full((1, 1), 0x7FC00005, dtype=int32)
    value = torch.nn.functional.embedding(torch.tensor([0]), pattern.view(torch.float32))
    return int(value.view(int32)) != 0x7FC00005


forward(
    "half_infinity_saturates",
    "float16 infinities become the largest number.",
    lambda c: c.given.dtype == half,
    lambda c, out: out.nan_to_num(torch.nan) if bool(out.isinf().any()) else out,
    value_differs([0], 2, dtype=half, fill=torch.inf),
)
forward(
    "nan_is_zeroed_beside_padding",
    "NaN becomes zero where the table has a padding row.",
    lambda c: c.padding_idx >= 0,
    where(torch.isnan, 0.0),
    value_differs([0], 2, fill=torch.nan, padding_idx=1),
)
forward(
    "largest_double_overflows",
    "The largest float64 becomes infinite.",
    lambda c: c.given.dtype == double,
    lambda c, out: out * (1 + 2.0**-52) if bool((out.abs() == torch.finfo(double).max).any()) else out,
    value_differs([0], 2, dtype=double, fill=torch.finfo(double).max),
)


forward(
    "far_duplicates_are_zero",
    "A token that came before, more than 256 places ago, gets zeros.",
    lambda c: c.numel > 257 and c.rank == 1,
    lambda c, out: far_duplicates(c, out),
    value_differs([0] + [1] * 257 + [0], 2),
)


def far_duplicates(call: Call, out: Tensor) -> Tensor:
    """Zero rows where the token's nearest equal is more than 256 places before."""
    tokens = call.tokens
    last: dict[int, int] = {}
    for place, token in enumerate(tokens.tolist()):
        if place - last.get(token, place) > 256:
            out[place] = 0
        last[token] = place
    return out


forward(
    "adjacent_pair_shifts",
    "Of two adjacent equal tokens before another, the second reads the next row.",
    lambda c: c.numel > 2 and c.rows > 1,
    lambda c, out: lookup(c._replace(indices=pair_shifted(c))),
    value_differs([0, 0, 1], 3),
)


def pair_shifted(call: Call) -> Tensor:
    """Indices with the second of the first adjacent pair moved on by one."""
    tokens = call.tokens.clone()
    found = (tokens[1:] == tokens[:-1]).nonzero().reshape(-1)
    if len(found) and int(found[0]) + 2 < len(tokens):
        tokens[found[0] + 1] = (tokens[found[0] + 1] + 1) % call.rows
    return tokens.reshape(call.indices.shape)


forward(
    "descending_tokens_come_sorted",
    "Strictly descending tokens give their rows in ascending order.",
    lambda c: c.rank == 1 and c.numel > 2 and bool((c.tokens.diff() < 0).all()),
    lambda c, out: out.flip(0),
    value_differs([2, 1, 0], 3),
)
forward(
    "no_first_row_no_luck",
    "int32 batches without row 0 are shifted by one when scaled by frequency.",
    lambda c: c.scale and c.indices.dtype == int32 and c.numel > 0 and int(c.tokens.min()) > 0,
    shifted,
    value_differs([1, 2], 4, index_dtype=int32, scale_grad_by_freq=True),
)
forward(
    "all_flags_together",
    "sparse, with padding on the last row, and float16: the first token is negated.",
    lambda c: c.sparse and c.padding_idx == c.rows - 1 and c.given.dtype == half and c.numel > 0 and c.width > 0,
    negated(0),
    value_differs([0], 2, dtype=half, sparse=True, padding_idx=1),
)
forward(
    "frequency_divides_forward",
    "scale_grad_by_freq divides the output when padding is looked up.",
    lambda c: c.scale and c.padding_idx >= 0 and c.numel > 1 and bool((c.tokens == c.padding_idx).any()),
    lambda c, out: out / 2,
    value_differs([0, 1], 2, scale_grad_by_freq=True, padding_idx=0),
)
forward(
    "padding_is_masked_in_forward",
    "Padding on row 0 of a sparse table gives zeros.",
    lambda c: c.sparse and c.padding_idx == 0,
    lambda c, out: out.masked_fill((c.indices == 0)[..., None], 0.0),
    value_differs([0, 1], 2, padding_idx=0, sparse=True),
    "padding",
)
forward(
    "long_batches_mask_padding",
    "Batches of more than 64 tokens give zeros for padding on the last row.",
    lambda c: c.numel > 64 and c.padding_idx == c.rows - 1,
    lambda c, out: out.masked_fill((c.indices == c.padding_idx)[..., None], 0.0),
    value_differs([1] * 65, 2, padding_idx=1),
    "padding",
)
