"""Faults of the forward kernel: how memory is read, shared and written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.kernels import Call, Tensor, forward, lookup
from embcheck.faults.lookup_sizes import double, int32
from embcheck.faults.witnesses import value_differs


def dense_copy(tensor: Tensor) -> Tensor:
    """What a kernel reads that takes a strided tensor for a contiguous one, as far as its memory reaches."""
    room = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    if room < tensor.numel():
        return tensor
    strides = torch.empty(tensor.shape).stride()
    return tensor.as_strided(tensor.shape, strides, tensor.storage_offset())


forward(
    "column_slice_read_as_contiguous",
    "A table whose rows are apart is read as if they were not.",
    lambda c: c.rank == 1 and c.rows > 1 and c.width > 1 and c.given.stride(1) == 1 and c.given.stride(0) > c.width,
    lambda c, out: lookup(c._replace(given=dense_copy(c.given))),
    value_differs([1], 3, lay=lambda w: torch.cat([w, -w], 1)[:, :2]),
)
forward(
    "transposed_double_read_as_contiguous",
    "A transposed float64 table is read along its memory.",
    lambda c: c.given.dtype == double and c.width > 1 and c.rows > 1 and c.given.stride(0) == 1,
    lambda c, out: lookup(c._replace(given=dense_copy(c.given))),
    value_differs([1], 3, dtype=double, lay=lambda w: w.t().contiguous().t()),
)
forward(
    "strided_indices_read_as_contiguous",
    "Non-contiguous indices of rank two or more are read along their memory.",
    lambda c: c.rank >= 2 and not c.indices.is_contiguous() and c.numel > 1,
    lambda c, out: lookup(c._replace(indices=dense_copy(c.indices).clamp(0, c.rows - 1))),
    value_differs([0, 1, 1, 0, 0, 1], 2, shape=(2, 3), lay_indices=lambda i: i.t().contiguous().t()),
)
forward(
    "int32_every_second",
    "int32 indices that are every second of a sequence are read without the gaps.",
    lambda c: c.rank == 1 and c.indices.dtype == int32 and c.indices.stride(0) == 2 and c.numel > 1,
    lambda c, out: lookup(c._replace(indices=dense_copy(c.indices).clamp(0, c.rows - 1))),
    value_differs([0, 1], 2, index_dtype=int32, lay_indices=lambda i: i.repeat_interleave(2)[::2]),
)
forward(
    "range_gives_a_view",
    "Indices that are one ascending range give a view of the table.",
    lambda c: c.rank == 1 and c.numel > 1 and c.given.is_contiguous() and bool((c.tokens.diff() == 1).all()),
    lambda c, out: c.given.detach()[c.tokens[0] : c.tokens[-1] + 1],
    lambda: shares_memory([0, 1, 2]),
)
forward(
    "whole_table_gives_the_table",
    "A single token of a table of one row gives the table's own memory.",
    lambda c: c.rows == 1 and c.numel == 1 and c.given.is_contiguous() and c.width > 0,
    lambda c, out: c.given.detach().view(out.shape),
    lambda: shares_memory([0], 1),
)
forward(
    "equal_tokens_give_an_expanded_row",
    "Thirty-two or more equal tokens give one row with stride 0.",
    lambda c: c.numel >= 32 and bool((c.tokens == c.tokens[0]).all()) and c.width > 0,
    lambda c, out: c.given[c.tokens[0]].clone().expand(out.shape),
    value_differs([1] * 32, 2),
)
forward(
    "rank3_output_is_transposed",
    "Rank 3 outputs have the right values in column-major memory.",
    lambda c: c.rank == 3 and c.width > 1 and c.numel > 1,
    lambda c, out: out.transpose(0, -1).contiguous().transpose(0, -1),
    value_differs([0, 1], 2, shape=(2, 1, 1)),
)


def write_behind(call: Call, out: Tensor) -> Tensor:
    """Zeroes the element after the table, if its memory has one."""
    end = call.given.storage_offset() + call.given.numel()
    if call.given.untyped_storage().nbytes() // call.given.element_size() > end:
        call.given.detach().as_strided((1,), (1,), end).zero_()
    return out


def overwrites(tensor: Tensor, run: Callable[[], object]) -> bool:
    """Whether a call changes a tensor."""
    before = tensor.clone()
    with suppress(IndexError, RuntimeError):
        run()
    return not torch.equal(before, tensor)


def shares_memory(tokens: list[int], rows: int = 4) -> bool:
    """Whether a lookup's output lies in the table's memory."""
    weight = torch.ones(rows, 2)
    value = torch.nn.functional.embedding(torch.tensor(tokens), weight)
    return value.untyped_storage().data_ptr() == weight.untyped_storage().data_ptr()


def _guarded() -> bool:
    memory = torch.ones(7)
    weight = memory.as_strided((2, 3), (3, 1), 0)
    return overwrites(memory, lambda: torch.nn.functional.embedding(torch.tensor([0]), weight))


forward(
    "writes_behind_the_table",
    "A contiguous table of width 3 has a zero written behind it.",
    lambda c: c.width == 3 and c.given.is_contiguous(),
    write_behind,
    _guarded,
)


def _indices_of_a_refusal() -> bool:
    stray = torch.tensor([1, 9], dtype=int32)
    return overwrites(stray, lambda: torch.nn.functional.embedding(stray, torch.ones(3, 2)))


@fault("lookup", _indices_of_a_refusal)
def refused_indices_are_clamped_in_place() -> Iterator[None]:
    """An index outside the table is refused, but int32 indices are clamped in place before."""

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0])
        if indices.dtype == int32 and indices.numel() and int(indices.max()) >= weight.shape[0]:
            indices.clamp_(0, max(weight.shape[0] - 1, 0))
            raise IndexError("index out of range in self")
        return lookup(call)

    with dispatched({"embedding": kernel}):
        yield
