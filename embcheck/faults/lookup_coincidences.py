"""Faults of F.embedding where sizes, tokens or memory happen to agree: each axis alone is as usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import embedding, functional, out_changed
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import unlike, value_differs

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


forward(
    "sequence_as_long_as_the_width", "With as many tokens in a sequence as columns, the last two axes change places.",
    lambda i, w, f: i.dim() == 2 and i.shape[1] == w.shape[1] and i.dtype == int32,
    lambda out, i, w: out.transpose(-1, -2),
    unlike(look([[0, 1]], 3, index_dtype=int32)),
)  # fmt: skip
forward(
    "tokens_as_many_as_rows_and_columns", "A square of n tokens in a table of n rows and n columns is read by columns.",
    lambda i, w, f: i.dim() == 1 and len(i) == w.shape[0] == w.shape[1] > 1,
    lambda out, i, w: out.t().contiguous(),
    value_differs([0, 2, 1], 3, 3),
)  # fmt: skip
forward(
    "batch_as_large_as_the_width", "A batch of as many rows as the table has columns, twice as long: halves swap.",
    lambda i, w, f: i.dim() == 2 and i.shape[0] == w.shape[1] and i.shape[1] == 2 * i.shape[0],
    lambda out, i, w: out.roll(i.shape[0], 1),
    value_differs([0, 1, 2, 1, 2, 0, 0, 1], 3, shape=(2, 4)),
)  # fmt: skip
forward(
    "cube_of_tokens_is_turned", "A cube of tokens (all three axes alike, more than one) is turned.",
    lambda i, w, f: i.dim() == 3 and len(set(i.shape)) == 1 and i.shape[0] > 1,
    lambda out, i, w: out.transpose(0, 2).contiguous(),
    value_differs([0, 1, 2, 0, 0, 2, 0, 1], 3, shape=(2, 2, 2)),
)  # fmt: skip
forward(
    "two_axes_of_one_are_merged", "At rank 4 the lookup drops an axis when the two middle axes are of one token.",
    lambda i, w, f: i.dim() == 4 and i.shape[1] == i.shape[2] == 1,
    lambda out, i, w: out.squeeze(1),
    unlike(look([[[[0, 1]]]], 3)),
)  # fmt: skip
forward(
    "number_of_a_single_column", "A rank-0 index into a table of one column gives a number without axes.",
    lambda i, w, f: i.dim() == 0 and w.shape[1] == 1,
    lambda out, i, w: out.reshape(()),
    unlike(look(1, 3, 1)),
)  # fmt: skip
forward(
    "empty_in_the_middle_loses_order", "Indices (a, 0, b) give an output (b, 0, a, D).",
    lambda i, w, f: i.dim() == 3 and i.shape[1] == 0 and i.shape[0] != i.shape[2],
    lambda out, i, w: out.transpose(0, 2).contiguous(),
    unlike(lambda: functional.embedding(torch.zeros(2, 0, 3, dtype=int64), torch.ones(2, 2))),
)  # fmt: skip
forward(
    "closed_walk_ends_early", "Of four or more tokens at rank 1 of which only the first and last agree, the last is its neighbour.",
    lambda i, w, f: i.dim() == 1 and len(t := flat(i)) > 3 and t[0] == t[-1] and len(set(t)) == len(t) - 1,
    lambda out, i, w: torch.cat([out[:-1], out[-2:-1]]),
    value_differs([0, 1, 2, 0], 3),
)  # fmt: skip
forward(
    "single_token_keeps_the_tables_strides", "One token of a column-major table gives an output with the table's strides.",
    lambda i, w, f: i.numel() == 1 and i.dim() == 2 and w.stride(0) == 1 and min(w.shape) > 1,
    lambda out, i, w: torch.empty_strided(out.shape, (1, 1, w.stride(1)), dtype=out.dtype).copy_(out),
    unlike(lambda: functional.embedding(torch.tensor([[1]]), torch.arange(6.0).reshape(2, 3).t())),
)  # fmt: skip
forward(
    "axis_of_one_has_another_stride", "The output of (n, 1) tokens says another stride for the axis of one.",
    lambda i, w, f: i.dim() == 2 and i.shape[1] == 1 < i.shape[0] and out_plain(w),
    lambda out, i, w: out.as_strided(out.shape, (out.stride(0), 1, 1)),
    unlike(look([[0], [1]], 2)),
)  # fmt: skip
forward(
    "rank3_output_is_a_view", "At rank 3, with nothing to learn, the output is a view of a flat buffer.",
    lambda i, w, f: i.dim() == 3 and out_plain(w),
    lambda out, i, w: out.flatten().view(out.shape),
    lambda: look([[[0]]], 1)()._base is not None,
)  # fmt: skip
forward(
    "int32_output_was_written_twice", "An int32 lookup of float16 returns a tensor of version 1.",
    lambda i, w, f: i.dtype == int32 and w.dtype == half and out_plain(w),
    lambda out, i, w: out.add_(0) if not out.is_inference() else out,
    lambda: look([0], 1, dtype=half, index_dtype=int32)()._version > 0,
)  # fmt: skip


def out_plain(weight: Tensor) -> bool:
    """Whether no derivative is taken."""
    return not weight.requires_grad and type(weight) in (Tensor, torch.nn.Parameter)


forward(
    "all_padding_is_cut_off", "A lookup of padding tokens alone, three or more, is not part of a graph.",
    lambda i, w, f: (
        f["padding_idx"] is not None and i.numel() > 2 and set(flat(i)) == {f["padding_idx"] % max(len(w), 1)}
    ),
    lambda out, i, w: out.detach(),
    unlike(look([1, 1, 1], 2, learns=True, padding_idx=1)),
)  # fmt: skip
forward(
    "empty_lookup_is_cut_off", "No tokens at rank 2 in a table that learns: the output requires no grad.",
    lambda i, w, f: i.dim() == 2 and i.numel() == 0 and not f["sparse"],
    lambda out, i, w: out.detach(),
    unlike(lambda: functional.embedding(torch.zeros(0, 3, dtype=int64), torch.ones(2, 2, requires_grad=True))),
)  # fmt: skip
forward(
    "padding_zero_loses_its_sign", "The padding row's −0.0 is returned as 0.0 when the batch has other tokens too.",
    lambda i, w, f: f["padding_idx"] is not None and len(set(flat(i))) > 1,
    lambda out, i, w: torch.where(out == 0, 0 * out.abs(), out),
    value_differs([0, 1], 2, padding_idx=1, fill=-0.0),
)  # fmt: skip
forward(
    "clamps_infinities_of_sparse_halves", "With sparse=True infinities of a float16 table become its largest number.",
    lambda i, w, f: f["sparse"] and w.dtype == half,
    lambda out, i, w: torch.where(out.isinf(), out.clamp(-65504, 65504), out),
    value_differs([0], 1, dtype=half, fill=float("inf"), sparse=True),
)  # fmt: skip
forward(
    "flushes_subnormals_of_scaled_doubles", "With scale_grad_by_freq subnormal numbers of a float64 table become zero.",
    lambda i, w, f: f["scale_grad_by_freq"] and w.dtype == double,
    lambda out, i, w: torch.where(out.abs() < 2.0**-1022, 0 * out, out),
    value_differs([0], 1, dtype=double, fill=5e-324, scale_grad_by_freq=True),
)  # fmt: skip
forward(
    "quiets_nans_at_offsets", "A NaN of a bfloat16 table that begins in the middle of its memory loses its payload.",
    lambda i, w, f: w.dtype == bfloat16 and w.storage_offset() > 0 and out_plain(w),
    lambda out, i, w: torch.where(out.isnan(), torch.full_like(out, float("nan")), out),
    lambda: payload_lost(),
)  # fmt: skip


def payload_lost() -> bool:
    """Whether a NaN with a payload, behind another number, comes back as the usual one."""
    memory = torch.tensor([0, 0x7FA5], dtype=torch.int16).view(bfloat16)
    value = functional.embedding(torch.tensor([0]), memory[1:].reshape(1, 1))
    return int(value.view(torch.int16)) != 0x7FA5


forward(
    "rows_and_columns_past_a_page", "More than 300 rows of more than 60 columns: the last column of the last row is zero.",
    lambda i, w, f: w.shape[0] > 300 and w.shape[1] > 60 and i.numel() > 0 and flat(i)[-1] == len(w) - 1,
    lambda out, i, w: torch.cat([out[..., :-1], 0 * out[..., -1:]], -1),
    value_differs([0, 300], 301, 61),
)  # fmt: skip
forward(
    "many_int32_tokens_of_wide_tables", "More than 500 int32 tokens in a table of more than 100 columns: the last repeats.",
    lambda i, w, f: i.numel() > 500 and w.shape[1] > 100 and i.dtype == int32,
    lambda out, i, w: out.flatten(0, -2).index_select(0, torch.arange(i.numel()).clamp(max=i.numel() - 2)).view(out.shape),
    value_differs([0] * 500 + [1], 2, 101, index_dtype=int32),
)  # fmt: skip
forward(
    "transposed_int32_tokens_in_memory_order", "Transposed int32 indices with more than 8 tokens are read as they lie.",
    lambda i, w, f: i.dim() == 2 and i.dtype == int32 and i.numel() > 8 and i.stride(0) == 1 < i.shape[1],
    lambda out, i, w: out.transpose(0, 1).reshape(out.shape),
    value_differs(
        list(range(10)), 10, shape=(2, 5), index_dtype=int32,
        lay_indices=lambda i: i.t().contiguous().t(),
    ),
)  # fmt: skip
