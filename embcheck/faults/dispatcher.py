"""Faults of the forward kernel, planted in the dispatcher: what a lookup returns."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.reference import Call, Tensor, accepted, forward, lookup, value_differs


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

# -- sizes, ranks and dtypes -------------------------------------------------------------------------------------

forward("scalar_index_reads_first_row", "A 0-dimensional index reads row 0.", lambda c: c.rank == 0,
        lambda c, out: c.given[0].clone(), value_differs([1], 3, shape=()))
forward("rank3_int32_wide_one_ulp", "Rank 3, int32 and D > 128 together: one element is an ulp off.",
        lambda c: c.rank == 3 and c.indices.dtype == int32 and c.width > 128 and c.given.dtype == torch.float32,
        one_ulp, value_differs([0, 1], 2, 129, shape=(2, 1, 1), index_dtype=int32))  # fmt: skip
forward("empty_loses_width", "Empty indices give an output without its last axis.", lambda c: c.numel == 0,
        lambda c, out: out.new_zeros(c.indices.shape), value_differs([], 3))  # fmt: skip
forward("last_row_reads_the_one_before", "The last row of a table of more than two is read from the one before.",
        lambda c: c.rows > 2 and c.numel > 0,
        lambda c, out: lookup(c._replace(indices=c.indices.clamp(max=c.rows - 2))), value_differs([2], 3))  # fmt: skip
forward("thousandth_token", "Exactly the 1000th token is wrong.", lambda c: c.numel >= 1000 and c.width > 0,
        negated(999), value_differs(range(1000), 1000))  # fmt: skip
forward("two_threads_tall_table", "With two threads and V > 1000 the last token is zero.",
        lambda c: torch.get_num_threads() == 2 and c.rows > 1000 and c.numel > 0, zeroed_last,
        value_differs([1, 5], 1001, threads=2))  # fmt: skip
forward("half_vector_tail", "float16 rows whose width is no multiple of 8 lose their tail beyond 16 columns.",
        lambda c: c.given.dtype == half and c.width > 16 and c.width % 8 != 0 and c.numel > 0,
        lambda c, out: (rows_of(out)[:, c.width // 8 * 8 :].zero_(), out)[1], value_differs([0], 2, 17, dtype=half))  # fmt: skip
forward("double_through_single", "float64 rows pass through float32 when the index has two or more axes.",
        lambda c: c.given.dtype == double and c.rank >= 2, lambda c, out: out.float().double(),
        value_differs([0, 0], 2, dtype=double, shape=(1, 2), fill=0.1))  # fmt: skip
forward("tokens_rounded_like_bfloat16", "Row numbers above 256 are rounded to eight bits when D is odd.",
        lambda c: c.rows > 257 and c.width % 2 == 1,
        lambda c, out: lookup(c._replace(indices=c.indices.to(bfloat16).to(c.indices.dtype).clamp(max=c.rows - 1))),
        value_differs([257], 300, 3))  # fmt: skip
forward("tokens_wrap_at_32768", "Row numbers are kept in sixteen bits.", lambda c: c.rows > 32768,
        lambda c, out: lookup(c._replace(indices=c.indices % 32768)), value_differs([32769], 40000, 1))  # fmt: skip
forward("vocabulary_of_50257", "A table of exactly 50,257 rows gives the wrong last row.",
        lambda c: c.rows == 50257 and c.numel > 0,
        lambda c, out: torch.where((c.indices == c.rows - 1)[..., None], -out, out), value_differs([50256], 50257, 1))  # fmt: skip
forward("width_40", "Exactly 40 columns: the last one is that of another token.",
        lambda c: c.width == 40 and c.numel > 1,
        lambda c, out: (rows_of(out)[:, -1].copy_(rows_of(out)[:, -1].flip(0).clone()), out)[1],
        value_differs([0, 1], 2, 40))  # fmt: skip
forward("tokens_between_38_and_62", "Between 38 and 62 tokens of int32: the first is negated.",
        lambda c: 38 <= c.numel <= 62 and c.indices.dtype == int32 and c.width > 0, negated(0),
        value_differs([0] * 40, 2, index_dtype=int32))  # fmt: skip
forward("wide_batch_columns_shift", "Outputs of more than 65,536 elements rotate the columns of their last row.",
        lambda c: c.numel * c.width > 65536,
        lambda c, out: (rows_of(out)[-1].copy_(rows_of(out)[-1].roll(1)), out)[1],
        value_differs([0] * 257, 2, 256))  # fmt: skip
forward("rank4_unit_axis", "Rank 4 with an axis of one between longer ones: tokens in reverse.",
        lambda c: c.rank == 4 and 1 in c.indices.shape and c.numel > 1,
        lambda c, out: rows_of(out).flip(0).view_as(out), value_differs([0, 1], 2, shape=(1, 2, 1, 1)))  # fmt: skip
forward("single_row_table", "A table of one row gives zeros to int32.",
        lambda c: c.rows == 1 and c.indices.dtype == int32, lambda c, out: out.zero_(),
        value_differs([0], 1, index_dtype=int32))  # fmt: skip
forward("scalar_of_half_is_promoted", "A 0-dimensional index into float16 gives float32.",
        lambda c: c.rank == 0 and c.given.dtype == half, lambda c, out: out.float(),
        value_differs([0], 2, shape=(), dtype=half))  # fmt: skip

# -- memory ------------------------------------------------------------------------------------------------------


def dense_copy(tensor: Tensor) -> Tensor:
    """What a kernel reads that takes a strided tensor for a contiguous one, as far as its memory reaches."""
    room = tensor.untyped_storage().nbytes() // tensor.element_size() - tensor.storage_offset()
    if room < tensor.numel():
        return tensor
    strides = torch.empty(tensor.shape).stride()
    return tensor.as_strided(tensor.shape, strides, tensor.storage_offset())


forward("column_slice_read_as_contiguous", "A table whose rows are apart is read as if they were not.",
        lambda c: c.rank == 1 and c.rows > 1 and c.width > 1 and c.given.stride(1) == 1 and c.given.stride(0) > c.width,
        lambda c, out: lookup(c._replace(given=dense_copy(c.given))),
        value_differs([1], 3, lay=lambda w: torch.cat([w, -w], 1)[:, :2]))  # fmt: skip
forward("transposed_double_read_as_contiguous", "A transposed float64 table is read along its memory.",
        lambda c: c.given.dtype == double and c.width > 1 and c.rows > 1 and c.given.stride(0) == 1,
        lambda c, out: lookup(c._replace(given=dense_copy(c.given))),
        value_differs([1], 3, dtype=double, lay=lambda w: w.t().contiguous().t()))  # fmt: skip
forward("strided_indices_read_as_contiguous", "Non-contiguous indices of rank two or more are read along their memory.",
        lambda c: c.rank >= 2 and not c.indices.is_contiguous() and c.numel > 1,
        lambda c, out: lookup(c._replace(indices=dense_copy(c.indices).clamp(0, c.rows - 1))),
        value_differs([0, 1, 1, 0, 0, 1], 2, shape=(2, 3), lay_indices=lambda i: i.t().contiguous().t()))  # fmt: skip
forward("int32_every_second", "int32 indices that are every second of a sequence are read without the gaps.",
        lambda c: c.rank == 1 and c.indices.dtype == int32 and c.indices.stride(0) == 2 and c.numel > 1,
        lambda c, out: lookup(c._replace(indices=dense_copy(c.indices).clamp(0, c.rows - 1))),
        value_differs([0, 1], 2, index_dtype=int32, lay_indices=lambda i: i.repeat_interleave(2)[::2]))  # fmt: skip
forward("range_gives_a_view", "Indices that are one ascending range give a view of the table.",
        lambda c: c.rank == 1 and c.numel > 1 and c.given.is_contiguous() and bool((c.tokens.diff() == 1).all()),
        lambda c, out: c.given.detach()[c.tokens[0] : c.tokens[-1] + 1],
        lambda: shares_memory([0, 1, 2]))  # fmt: skip
forward("whole_table_gives_the_table", "A single token of a table of one row gives the table's own memory.",
        lambda c: c.rows == 1 and c.numel == 1 and c.given.is_contiguous() and c.width > 0,
        lambda c, out: c.given.detach().view(out.shape), lambda: shares_memory([0], 1))  # fmt: skip
forward("equal_tokens_give_an_expanded_row", "Thirty-two or more equal tokens give one row with stride 0.",
        lambda c: c.numel >= 32 and bool((c.tokens == c.tokens[0]).all()) and c.width > 0,
        lambda c, out: c.given[c.tokens[0]].clone().expand(out.shape), value_differs([1] * 32, 2))  # fmt: skip
forward("rank3_output_is_transposed", "Rank 3 outputs have the right values in column-major memory.",
        lambda c: c.rank == 3 and c.width > 1 and c.numel > 1,
        lambda c, out: out.transpose(0, -1).contiguous().transpose(0, -1), value_differs([0, 1], 2, shape=(2, 1, 1)))  # fmt: skip


def write_behind(call: Call, out: Tensor) -> Tensor:
    """Zeroes the element after the table, if its memory has one."""
    end = call.given.storage_offset() + call.given.numel()
    if call.given.untyped_storage().nbytes() // call.given.element_size() > end:
        call.given.detach().as_strided((1,), (1,), end).zero_()
    return out


def overwrites(tensor: Tensor, run: Callable[[], object]) -> bool:
    """Whether a call changes a tensor."""
    before = tensor.clone()
    try:
        run()
    except (IndexError, RuntimeError):
        pass
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


forward("writes_behind_the_table", "A contiguous table of width 3 has a zero written behind it.",
        lambda c: c.width == 3 and c.given.is_contiguous(), write_behind, _guarded)  # fmt: skip


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


# -- values ------------------------------------------------------------------------------------------------------

_least = torch.finfo(torch.float32).smallest_normal / 2
forward("subnormals_flushed", "Subnormal float32 numbers become zero.", lambda c: c.given.dtype == torch.float32,
        lambda c, out: torch.where(out.abs() < torch.finfo(torch.float32).smallest_normal, torch.zeros_like(out), out),
        value_differs([0], 2, fill=_least))  # fmt: skip
forward("bfloat16_subnormals_flushed", "Subnormal bfloat16 numbers become zeros of their sign at rank 2.",
        lambda c: c.given.dtype == bfloat16 and c.rank == 2,
        lambda c, out: torch.where(out.abs() < torch.finfo(bfloat16).smallest_normal, torch.copysign(torch.zeros_like(out), out), out),
        value_differs([0], 2, shape=(1, 1), dtype=bfloat16, fill=_least))  # fmt: skip
forward("negative_zero_lost", "−0.0 becomes 0.0.", lambda c: True, lambda c, out: out + 0.0,
        value_differs([0], 2, fill=-0.0))  # fmt: skip
forward("nan_payload_lost", "Every float32 NaN becomes the default one.", lambda c: c.given.dtype == torch.float32,
        where(torch.isnan, torch.nan), lambda: nan_changed())  # fmt: skip


def nan_changed() -> bool:
    """Whether a NaN's payload is lost."""
    pattern = torch.full((1, 1), 0x7FC00005, dtype=int32)
    value = torch.nn.functional.embedding(torch.tensor([0]), pattern.view(torch.float32))
    return int(value.view(int32)) != 0x7FC00005


forward("half_infinity_saturates", "float16 infinities become the largest number.", lambda c: c.given.dtype == half,
        lambda c, out: out.nan_to_num(torch.nan) if bool(out.isinf().any()) else out,
        value_differs([0], 2, dtype=half, fill=torch.inf))  # fmt: skip
forward("nan_is_zeroed_beside_padding", "NaN becomes zero where the table has a padding row.",
        lambda c: c.padding_idx >= 0, where(torch.isnan, 0.0), value_differs([0], 2, fill=torch.nan, padding_idx=1))  # fmt: skip
forward("largest_double_overflows", "The largest float64 becomes infinite.", lambda c: c.given.dtype == double,
        lambda c, out: out * (1 + 2.0**-52) if bool((out.abs() == torch.finfo(double).max).any()) else out,
        value_differs([0], 2, dtype=double, fill=torch.finfo(double).max))  # fmt: skip

# -- tokens ------------------------------------------------------------------------------------------------------

forward("far_duplicates_are_zero", "A token that came before, more than 256 places ago, gets zeros.",
        lambda c: c.numel > 257 and c.rank == 1,
        lambda c, out: far_duplicates(c, out), value_differs([0] + [1] * 257 + [0], 2))  # fmt: skip


def far_duplicates(call: Call, out: Tensor) -> Tensor:
    """Zero rows where the token's nearest equal is more than 256 places before."""
    tokens = call.tokens
    last: dict[int, int] = {}
    for place, token in enumerate(tokens.tolist()):
        if place - last.get(token, place) > 256:
            out[place] = 0
        last[token] = place
    return out


forward("adjacent_pair_shifts", "Of two adjacent equal tokens before another, the second reads the next row.",
        lambda c: c.numel > 2 and c.rows > 1,
        lambda c, out: lookup(c._replace(indices=pair_shifted(c))), value_differs([0, 0, 1], 3))  # fmt: skip


def pair_shifted(call: Call) -> Tensor:
    """Indices with the second of the first adjacent pair moved on by one."""
    tokens = call.tokens.clone()
    found = (tokens[1:] == tokens[:-1]).nonzero().reshape(-1)
    if len(found) and int(found[0]) + 2 < len(tokens):
        tokens[found[0] + 1] = (tokens[found[0] + 1] + 1) % call.rows
    return tokens.reshape(call.indices.shape)


forward("descending_tokens_come_sorted", "Strictly descending tokens give their rows in ascending order.",
        lambda c: c.rank == 1 and c.numel > 2 and bool((c.tokens.diff() < 0).all()),
        lambda c, out: out.flip(0), value_differs([2, 1, 0], 3))  # fmt: skip
forward("no_first_row_no_luck", "int32 batches without row 0 are shifted by one when scaled by frequency.",
        lambda c: c.scale and c.indices.dtype == int32 and c.numel > 0 and int(c.tokens.min()) > 0, shifted,
        value_differs([1, 2], 4, index_dtype=int32, scale_grad_by_freq=True))  # fmt: skip
forward("all_flags_together", "sparse, with padding on the last row, and float16: the first token is negated.",
        lambda c: c.sparse and c.padding_idx == c.rows - 1 and c.given.dtype == half and c.numel > 0 and c.width > 0,
        negated(0), value_differs([0], 2, dtype=half, sparse=True, padding_idx=1))  # fmt: skip
forward("frequency_divides_forward", "scale_grad_by_freq divides the output when padding is looked up.",
        lambda c: c.scale and c.padding_idx >= 0 and c.numel > 1 and bool((c.tokens == c.padding_idx).any()),
        lambda c, out: out / 2, value_differs([0, 1], 2, scale_grad_by_freq=True, padding_idx=0))  # fmt: skip
forward("padding_is_masked_in_forward", "Padding on row 0 of a sparse table gives zeros.",
        lambda c: c.sparse and c.padding_idx == 0,
        lambda c, out: out.masked_fill((c.indices == 0)[..., None], 0.0),
        value_differs([0, 1], 2, padding_idx=0, sparse=True), "padding")  # fmt: skip
forward("long_batches_mask_padding", "Batches of more than 64 tokens give zeros for padding on the last row.",
        lambda c: c.numel > 64 and c.padding_idx == c.rows - 1,
        lambda c, out: out.masked_fill((c.indices == c.padding_idx)[..., None], 0.0),
        value_differs([1] * 65, 2, padding_idx=1), "padding")  # fmt: skip

# -- indices outside the table -----------------------------------------------------------------------------------

forward_accepts = [
    ("minus_one_wraps", "Index −1 reads the last row.", lambda c: int(c.tokens.min()) == -1, [-1], None, torch.int64),
    ("one_too_many_is_clamped", "Index V reads the last row when there is more than one token.",
     lambda c: c.numel > 1 and int(c.tokens.max()) == c.rows, [0, 3], None, torch.int64),
    ("rank3_strays_are_clamped", "Any index outside the table is clamped at rank 3.", lambda c: c.rank == 3,
     [7], (1, 1, 1), torch.int64),
    ("far_int32_is_clamped", "int32 indices beyond twice the table are clamped.",
     lambda c: c.indices.dtype == int32 and int(c.tokens.max()) > 2 * c.rows, [9], None, int32),
    ("scalar_minus_v_wraps", "A 0-dimensional index −V reads row 0.",
     lambda c: c.rank == 0 and int(c.tokens.min()) == -c.rows, [-3], (), torch.int64),
]  # fmt: skip


def _accepting(when: Callable[[Call], bool]) -> Callable[[], Iterator[None]]:
    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0])
        if call.numel and call.rows and when(call):
            tokens = indices if int(indices.min()) >= 0 else indices % call.rows
            return lookup(call._replace(indices=tokens.clamp(0, call.rows - 1)))
        return lookup(call)

    def plant() -> Iterator[None]:
        with dispatched({"embedding": kernel}):
            yield

    return plant


for _name, _sentence, _when, _tokens, _shape, _dtype in forward_accepts:
    _plant = _accepting(_when)
    _plant.__name__, _plant.__doc__ = _name, _sentence
    fault("lookup", accepted(_tokens, 3, shape=_shape, index_dtype=_dtype))(_plant)

# -- what happened before ----------------------------------------------------------------------------------------


@contextmanager
def remembering(spoil: Callable[[list[Call], Call, Tensor], Tensor]) -> Iterator[None]:
    """A forward kernel that knows its earlier calls, the latest last; outputs are kept beside them."""
    calls: list[Call] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0], padding, scale, sparse)
        out = spoil(calls, call, lookup(call))
        calls.append(call)
        del calls[:-4]
        return out

    with dispatched({"embedding": kernel}):
        yield


def _stale(change: str) -> bool:
    weight, indices = torch.ones(3, 2), torch.tensor([0, 1])
    torch.nn.functional.embedding(indices, weight)
    if change == "weight":
        weight.mul_(2)
    elif change == "indices":
        weight[2] = 5
        indices.fill_(2)
    value = torch.nn.functional.embedding(indices, weight)
    return not torch.equal(value, torch.stack([weight[int(token)] for token in indices]))


@fault("lookup", lambda: _stale("weight"))
def stale_after_weight_changed() -> Iterator[None]:
    """The output of the same index tensor and table is kept, whatever became of the table since."""
    kept: list[tuple[Tensor, int, Tensor]] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        for tensor, address, out in kept:
            if tensor is indices and address == weight.data_ptr():
                return out.clone()
        out = lookup(Call(weight, indices, weight.shape[0]))
        kept[:] = [(indices, weight.data_ptr(), out.clone())]
        return out

    with dispatched({"embedding": kernel}):
        yield


@fault("lookup", lambda: _stale("indices"))
def stale_after_indices_changed() -> Iterator[None]:
    """The tokens of an index tensor are kept, whatever was written to it since."""
    kept: list[tuple[Tensor, Tensor]] = []

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        for tensor, tokens in kept:
            if tensor is indices and tokens.shape == indices.shape:
                return lookup(Call(weight, tokens, weight.shape[0]))
        kept[:] = [(indices, indices.clone())]
        return lookup(Call(weight, indices, weight.shape[0]))

    with dispatched({"embedding": kernel}):
        yield


@fault("lookup", lambda: _after([0, 1, 1], [0, 1]))
def workspace_of_a_longer_call() -> Iterator[None]:
    """After a call with more tokens of the same table, the last row is negated."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        longer = calls and calls[-1].given is call.given and calls[-1].numel > call.numel
        return negated(-1)(call, out) if longer and call.numel and call.width else out

    with remembering(spoil):
        yield


@fault("lookup", lambda: _after([0, 1], [0, 1]))
def second_call_alike() -> Iterator[None]:
    """A second call with the same table and indices reads the next rows."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        again = calls and calls[-1].given is call.given and calls[-1].indices is call.indices and call.rows > 1
        return shifted(call, out) if again else out

    with remembering(spoil):
        yield


@fault("lookup", lambda: _after([], [0, 1]))
def call_after_an_empty_one() -> Iterator[None]:
    """The call after one without tokens gives zeros."""

    def spoil(calls: list[Call], call: Call, out: Tensor) -> Tensor:
        return out.zero_() if calls and calls[-1].numel == 0 else out

    with remembering(spoil):
        yield


def _after(first: list[int], second: list[int]) -> bool:
    weight = torch.tensor([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]])
    indices = torch.tensor(first, dtype=torch.int64)
    torch.nn.functional.embedding(indices, weight)
    again = indices if first == second else torch.tensor(second)
    value = torch.nn.functional.embedding(again, weight)
    return not torch.equal(value, torch.stack([weight[token] for token in second]))


@fault("lookup", lambda: _after_refusal())
def call_after_a_refused_one() -> Iterator[None]:
    """The call after a refused one reads the next rows."""
    failed = [False]

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        call = Call(weight, indices, weight.shape[0])
        before, failed[0] = failed[0], True
        out = lookup(call)
        failed[0] = False
        return shifted(call, out) if before and call.rows > 1 else out

    with dispatched({"embedding": kernel}):
        yield


def _after_refusal() -> bool:
    weight = torch.tensor([[1.0], [2.0]])
    try:
        torch.nn.functional.embedding(torch.tensor([7]), weight)
    except IndexError:
        pass
    return float(torch.nn.functional.embedding(torch.tensor([0]), weight)) != 1.0


def _without_grad(context: Callable[[], torch.no_grad | torch.inference_mode]) -> bool:
    with context():
        value = torch.nn.functional.embedding(torch.tensor([[0]]), torch.tensor([[1.0], [2.0]]), sparse=True)
    return float(value) != 1.0


forward("inference_mode_with_sparse", "In inference mode a sparse table's first token reads the next row.",
        lambda c: torch.is_inference_mode_enabled() and c.sparse and c.numel > 0 and c.rows > 1, shifted,
        lambda: _without_grad(torch.inference_mode))  # fmt: skip
forward("no_grad_with_rank_2", "Without gradients, though not in inference mode, rank 2 reads the next rows.",
        lambda c: not torch.is_grad_enabled() and not torch.is_inference_mode_enabled() and c.rank == 2 and c.rows > 1,
        shifted, lambda: _without_grad(torch.no_grad))  # fmt: skip
