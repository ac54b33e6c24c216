"""Faults of the dense backward kernel: the gradient of a table, and of padding."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch

from embcheck.fault import dispatched, fault
from embcheck.faults.reference import (
    Call,
    Tensor,
    backward,
    backward_spoiled,
    dense_gradient,
    gradient_differs,
)

int32, half, bfloat16, double = torch.int32, torch.float16, torch.bfloat16, torch.float64


def only(keep: Callable[[Call], Tensor]) -> Callable[[Call, Tensor], Tensor]:
    """The gradient of those tokens alone that ``keep`` (bool, shape ``(numel,)``) marks."""

    def spoil(call: Call, out: Tensor) -> Tensor:
        kept = keep(call)
        return dense_gradient(call._replace(given=call.upstream * kept[:, None].to(call.given.dtype)))

    return spoil


def places(call: Call) -> Tensor:
    """0, 1, 2, … for the tokens."""
    return torch.arange(call.numel)


def overwritten(call: Call, out: Tensor) -> Tensor:
    """Of equal tokens only the last one counts."""
    result = torch.zeros_like(out)
    for token, part in zip(call.tokens.tolist(), call.upstream, strict=True):
        if token != call.padding_idx:
            result[token] = part
    return result


def not_adjacent(call: Call) -> Tensor:
    """Tokens that differ from the one before."""
    tokens = call.tokens
    return torch.cat([torch.ones(1, dtype=torch.bool), tokens[1:] != tokens[:-1]])


def nth(call: Call) -> Tensor:
    """How many equal tokens came before each."""
    seen: dict[int, int] = {}
    counts = []
    for token in call.tokens.tolist():
        counts.append(seen.get(token, 0))
        seen[token] = counts[-1] + 1
    return torch.tensor(counts, dtype=torch.int64)


def row_set(row: int, value: float) -> Callable[[Call, Tensor], Tensor]:
    """One row of the gradient overwritten."""

    def spoil(call: Call, out: Tensor) -> Tensor:
        out[row] = value
        return out

    return spoil


# -- sizes, ranks and dtypes -------------------------------------------------------------------------------------

backward("long_batches_overwrite_duplicates", "Beyond 64 tokens equal ones overwrite each other.",
         lambda c: c.numel > 64 and not c.scale, overwritten, gradient_differs([0] * 65, 2))  # fmt: skip
backward("adjacent_duplicates_lost", "Of adjacent equal float64 tokens the first alone counts.",
         lambda c: c.numel > 1 and c.given.dtype == double, only(not_adjacent), gradient_differs([0, 0], 2, dtype=double))  # fmt: skip
backward("token_3073_dropped", "The last of more than 3,072 tokens is dropped.", lambda c: c.numel > 3072,
         only(lambda c: places(c) < c.numel - 1), gradient_differs([1] * 3073, 2, 1))  # fmt: skip
backward("second_section_of_rows", "With two threads row 1,000 gets nothing.",
         lambda c: torch.get_num_threads() == 2 and c.rows > 1000, row_set(1000, 0.0),
         gradient_differs([1000], 1001, threads=2))  # fmt: skip
backward("rank3_int32_drops_last", "Rank 3 and int32 together: the last token is dropped.",
         lambda c: c.rank == 3 and c.indices.dtype == int32 and c.numel > 0, only(lambda c: places(c) < c.numel - 1),
         gradient_differs([0, 1], 2, shape=(1, 2, 1), index_dtype=int32))  # fmt: skip
backward("scalar_counts_twice", "A 0-dimensional index counts twice.", lambda c: c.rank == 0,
         lambda c, out: out * 2, gradient_differs([0], 2, shape=()))  # fmt: skip
backward("empty_batch_is_ones", "A batch without tokens has a gradient of ones on the last row.",
         lambda c: c.numel == 0 and c.rows > 0, row_set(-1, 1.0), gradient_differs([], 2))  # fmt: skip
backward("wide_rows_and_many_tokens", "D > 128 and more than 128 tokens: the last column is dropped.",
         lambda c: c.width > 128 and c.numel > 128, lambda c, out: (out[:, -1].zero_(), out)[1],
         gradient_differs([0] * 129, 2, 129))  # fmt: skip
backward("double_sums_in_single", "float64 gradients are summed in float32.", lambda c: c.given.dtype == double,
         lambda c, out: dense_gradient(c._replace(given=c.given.float())).double(),
         gradient_differs([0, 0], 2, dtype=double, upstream=lambda g: g / 3, tolerance=1e-12))  # fmt: skip
backward("half_counts_to_sixteen", "float16 rows take no more than 16 tokens.", lambda c: c.given.dtype == half,
         only(lambda c: nth(c) < 16), gradient_differs([1] * 17, 2, dtype=half))  # fmt: skip
backward("seven_rows_of_five", "Exactly 7 rows and 5 columns: row 6 is row 5's.", lambda c: c.rows == 7 and c.width == 5,
         lambda c, out: (out[6].copy_(out[5].clone()), out)[1], gradient_differs([5], 7, 5))  # fmt: skip
backward("tokens_beyond_256_apart", "A token whose last equal lies more than 256 places back is dropped.",
         lambda c: c.numel > 257, only(lambda c: near_equal(c)), gradient_differs([0] + [1] * 257 + [0], 2))  # fmt: skip


def near_equal(call: Call) -> Tensor:
    """Tokens that have no equal, or one within 256 places before."""
    last: dict[int, int] = {}
    kept = []
    for place, token in enumerate(call.tokens.tolist()):
        kept.append(place - last.get(token, place) <= 256)
        last[token] = place
    return torch.tensor(kept)


def raw_gradient(dtype: torch.dtype, shape: tuple[int, ...]) -> Tensor:
    """What the kernel returns, which accumulation into .grad would convert."""
    upstream = torch.ones(*shape, 3, dtype=dtype)
    return torch.ops.aten.embedding_dense_backward(upstream, torch.zeros(shape, dtype=torch.int64), 2, -1, False)


def raises(call: Call, out: Tensor) -> Tensor:
    """No gradient at all."""
    raise RuntimeError("not implemented")


backward("rank4_int32_is_refused", "Rank 4 and int32 have no gradient.",
         lambda c: c.rank == 4 and c.indices.dtype == int32, raises,
         gradient_differs([0], 2, shape=(1, 1, 1, 1), index_dtype=int32))  # fmt: skip
backward("backward_draws_random_numbers", "A backward pass of float64 draws a random number.",
         lambda c: c.given.dtype == double, lambda c, out: (torch.rand(1), out)[1], lambda: draws())  # fmt: skip


def draws() -> bool:
    """Whether a backward pass moves the random number generator."""
    before = torch.get_rng_state()
    raw_gradient(double, (1,))
    return not torch.equal(before, torch.get_rng_state())


# -- memory ------------------------------------------------------------------------------------------------------


def misread(call: Call, out: Tensor) -> Tensor:
    """The upstream gradient read along its memory."""
    given = call.given
    room = given.untyped_storage().nbytes() // given.element_size() - given.storage_offset()
    if room < given.numel():
        return dense_gradient(call._replace(given=given.flatten()[:1].expand(given.numel()).reshape(given.shape)))
    return dense_gradient(call._replace(given=given.as_strided(given.shape, torch.empty(given.shape).stride())))


backward("upstream_read_as_contiguous", "A transposed upstream gradient is read along its memory.",
         lambda c: c.numel > 1 and c.width > 1 and not c.given.is_contiguous() and 0 not in c.given.stride(), misread,
         gradient_differs([0, 1], 2, upstream=lambda g: g.t().contiguous().t()))  # fmt: skip
backward("expanded_upstream_counts_once", "An upstream gradient with stride 0 counts for the first token alone.",
         lambda c: c.numel > 1 and c.width > 0 and 0 in c.given.stride(), only(lambda c: places(c) < 1),
         gradient_differs([0, 1], 2, upstream=lambda g: torch.ones(()).expand(g.shape)))  # fmt: skip
backward("arange_gives_the_upstream_itself", "Tokens 0, 1, … V−1 give the upstream gradient's own memory.",
         lambda c: c.numel == c.rows and c.padding_idx == -1 and c.given.is_contiguous()
         and bool((c.tokens == places(c)).all()),
         lambda c, out: c.upstream.detach(), lambda: gives_upstream())  # fmt: skip
backward("gradient_in_column_order", "The gradient lies in memory column by column.", lambda c: c.rows > 1 and c.width > 1,
         lambda c, out: out.t().contiguous().t(), lambda: not raw_gradient(torch.float32, (2,)).is_contiguous())  # fmt: skip
backward("upstream_is_zeroed", "The upstream gradient is zeroed after use at rank 2.",
         lambda c: c.rank == 2 and c.given.is_contiguous(), lambda c, out: (c.given.detach().zero_(), out)[1],
         lambda: zeroes_upstream())  # fmt: skip


def gives_upstream() -> bool:
    """Whether the gradient lies in the upstream gradient's memory."""
    upstream, weight = torch.ones(2, 2), torch.ones(2, 2, requires_grad=True)
    value = torch.nn.functional.embedding(torch.tensor([0, 1]), weight)
    (grad,) = torch.autograd.grad(value, weight, upstream)
    return grad.untyped_storage().data_ptr() == upstream.untyped_storage().data_ptr()


def zeroes_upstream() -> bool:
    """Whether a backward pass changes the upstream gradient."""
    upstream = torch.ones(1, 2, 2)
    weight = torch.ones(2, 2, requires_grad=True)
    torch.nn.functional.embedding(torch.tensor([[0, 1]]), weight).backward(upstream)
    return not bool((upstream == 1).all())


# -- values ------------------------------------------------------------------------------------------------------

backward("untouched_row_not_quite_zero", "The row after the last one that was looked up gets 1e−30 in float64.",
         lambda c: c.given.dtype == double and c.numel > 0 and int(c.tokens.max()) + 1 < c.rows,
         lambda c, out: row_set(int(c.tokens.max()) + 1, 1e-30)(c, out), gradient_differs([0], 2, dtype=double))  # fmt: skip
backward("nan_spreads_to_untouched_rows", "Upstream NaN or infinity reaches every row, as one_hotᵀ @ dY would have it.",
         lambda c: not bool(c.given.isfinite().all()),
         lambda c, out: out + 0 * c.upstream.sum(0), gradient_differs([0], 2, upstream=lambda g: g * torch.nan))  # fmt: skip
backward("infinity_is_clipped", "Infinite gradients become the largest number.", lambda c: True,
         lambda c, out: torch.where(out.isinf(), torch.full_like(out, torch.finfo(out.dtype).max).copysign(out), out),
         gradient_differs([0], 2, upstream=lambda g: g * torch.inf))  # fmt: skip
backward("large_gradients_clipped", "Gradients beyond 10,000 are clipped.", lambda c: c.given.dtype == torch.float32,
         lambda c, out: torch.where(out.isfinite(), out.clamp(-1e4, 1e4), out), gradient_differs([0], 2, upstream=lambda g: g * 1e5))  # fmt: skip
backward("small_gradients_flushed", "Gradients below 1e−10 become zero.", lambda c: c.given.dtype == torch.float32,
         lambda c, out: out.masked_fill(out.abs() < 1e-10, 0.0), gradient_differs([0], 2, upstream=lambda g: g * 1e-20))  # fmt: skip
backward("subnormal_gradients_flushed", "Subnormal float64 gradients become zero.", lambda c: c.given.dtype == double,
         lambda c, out: out.masked_fill(out.abs() < torch.finfo(double).smallest_normal, 0.0),
         gradient_differs([0], 2, dtype=double, upstream=lambda g: g * 2.0**-1070))  # fmt: skip
backward("cancelled_rows_keep_a_rest", "A row whose gradients cancel keeps an ulp of the first.",
         lambda c: c.numel > 1 and c.given.dtype == torch.float32,
         lambda c, out: cancelled(c, out), gradient_differs([0, 0], 2, upstream=lambda g: opposite(g)))  # fmt: skip


def opposite(upstream: Tensor) -> Tensor:
    """Upstream gradients of which the second is minus the first."""
    upstream = upstream.clone()
    upstream[1] = -upstream[0]
    return upstream


def cancelled(call: Call, out: Tensor) -> Tensor:
    """Zeros in rows that were looked up become 2^-20 of the largest gradient."""
    looked_up = torch.zeros(call.rows, 1, dtype=torch.bool)
    looked_up[call.tokens[call.tokens != call.padding_idx]] = True
    finite = call.given[call.given.isfinite()].abs()
    rest = float(finite.max()) * 2.0**-20 if finite.numel() else 0.0
    return torch.where((out == 0) & looked_up, torch.full_like(out, rest), out)


# -- scale_grad_by_freq ------------------------------------------------------------------------------------------

backward("divided_by_one_less", "scale_grad_by_freq divides by the count less one, from three on.", lambda c: c.scale,
         lambda c, out: scaled(c, lambda count: torch.where(count > 2, count - 1, count)),
         gradient_differs([0, 0, 0], 2, scale_grad_by_freq=True, tolerance=0.01))  # fmt: skip
backward("divided_by_the_largest_count", "scale_grad_by_freq divides by the largest count.",
         lambda c: c.scale and c.numel > 0, lambda c, out: scaled(c, lambda count: count.max().expand_as(count)),
         gradient_differs([0, 0, 1], 2, scale_grad_by_freq=True))  # fmt: skip
backward("counts_stop_at_128", "scale_grad_by_freq divides by no more than 128.", lambda c: c.scale,
         lambda c, out: scaled(c, lambda count: count.clamp(max=128)),
         gradient_differs([0] * 256, 2, scale_grad_by_freq=True, tolerance=0.01))  # fmt: skip
backward("scale_ignored_for_last_padding", "scale_grad_by_freq is ignored where padding is the last row.",
         lambda c: c.scale and c.padding_idx == c.rows - 1, lambda c, out: dense_gradient(c._replace(scale=False)),
         gradient_differs([0, 0, 1], 2, padding_idx=1, scale_grad_by_freq=True))  # fmt: skip
backward("counts_include_the_neighbour", "scale_grad_by_freq of int32: row 1 is divided by row 0's count.",
         lambda c: c.scale and c.indices.dtype == int32 and c.rows > 1 and c.padding_idx == -1,
         lambda c, out: scaled(c, lambda count: torch.cat([count[:1], count[:1].clamp(min=1), count[2:]])),
         gradient_differs([0, 0, 1], 2, index_dtype=int32, scale_grad_by_freq=True))  # fmt: skip


def scaled(call: Call, change: Callable[[Tensor], Tensor]) -> Tensor:
    """The gradient divided by other counts."""
    counts = change(torch.bincount(call.tokens, minlength=call.rows))
    plain = dense_gradient(call._replace(scale=False))
    return plain / counts.clamp(min=1).to(plain.dtype)[:, None]


# -- padding -----------------------------------------------------------------------------------------------------


def unmasked(call: Call, out: Tensor) -> Tensor:
    """The gradient with padding's tokens in it."""
    return dense_gradient(call._replace(padding_idx=-1))


def masked_too(row: int) -> Callable[[Call, Tensor], Tensor]:
    """The gradient with another row masked as well."""
    return row_set(row, 0.0)


backward("long_batches_forget_padding", "Beyond 3,072 tokens padding gets its gradient.", lambda c: c.numel > 3072,
         unmasked, gradient_differs([0] * 3073, 2, 1, padding_idx=0), "padding")  # fmt: skip
backward("tall_tables_forget_padding", "Padding on the last of more than 1,000 rows gets its gradient.",
         lambda c: c.rows > 1000 and c.padding_idx == c.rows - 1, unmasked,
         gradient_differs([1000], 1001, padding_idx=1000), "padding")  # fmt: skip
backward("nothing_but_padding", "A batch of nothing but padding gives padding its gradient.",
         lambda c: c.numel > 0 and bool((c.tokens == c.padding_idx).all()), unmasked,
         gradient_differs([1, 1], 2, padding_idx=1), "padding")  # fmt: skip
backward("first_padding_token_alone", "Only the first padding token of float16 is masked.",
         lambda c: c.given.dtype == half and c.numel > 0,
         lambda c, out: first_masked(c), gradient_differs([1, 1], 2, dtype=half, padding_idx=1), "padding")  # fmt: skip
backward("padding_masks_row_zero_too", "Padding on the last row masks row 0 as well.",
         lambda c: c.padding_idx == c.rows - 1 and c.rows > 2, masked_too(0),
         gradient_differs([0], 3, padding_idx=2), "padding")  # fmt: skip
backward("padding_masks_by_place", "The token in the place of padding's number is masked too.",
         lambda c: 0 < c.padding_idx < c.numel and c.rank == 1,
         only(lambda c: places(c) != c.padding_idx), gradient_differs([0, 0], 2, padding_idx=1), "padding")  # fmt: skip
backward("scaled_padding_forgotten", "Padding on the last row is forgotten with scale_grad_by_freq.",
         lambda c: c.scale and c.padding_idx == c.rows - 1, unmasked,
         gradient_differs([1], 2, padding_idx=1, scale_grad_by_freq=True), "padding")  # fmt: skip
backward("int32_padding_zero_forgotten", "Padding on row 0 is forgotten for int32 at rank 3.",
         lambda c: c.indices.dtype == int32 and c.padding_idx == 0 and c.rank == 3, unmasked,
         gradient_differs([0], 2, shape=(1, 1, 1), index_dtype=int32, padding_idx=0), "padding")  # fmt: skip
backward("row_after_padding_takes_it", "Padding's gradient goes to the next row.",
         lambda c: 0 <= c.padding_idx < c.rows - 1, lambda c, out: moved_on(c, out),
         gradient_differs([0], 2, padding_idx=0), "padding")  # fmt: skip
backward("padding_gets_negative_infinity_only", "Padding's row is what it was times zero: NaN where infinite.",
         lambda c: c.padding_idx >= 0 and not bool(c.given.isfinite().all()),
         lambda c, out: (out[c.padding_idx].copy_(unmasked(c, out)[c.padding_idx] * 0), out)[1],
         gradient_differs([0], 2, padding_idx=0, upstream=lambda g: g * torch.inf), "padding")  # fmt: skip


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


# -- passes ------------------------------------------------------------------------------------------------------


@fault("gradient", lambda: passes([0, 1], retain=True) != 2.0)
def retained_pass_doubles() -> Iterator[None]:
    """A second backward pass over the same graph gives twice the gradient."""
    seen: list[Tensor] = []

    def spoil(call: Call, out: Tensor) -> Tensor:
        again = bool(seen) and seen[0] is call.indices and call.given.dtype == torch.float32
        seen[:] = [call.indices]
        return out * 2 if again else out

    with backward_spoiled(lambda call: True, spoil):
        yield


def passes(tokens: list[int], retain: bool) -> float:
    """Row 0's gradient after two passes over one graph."""
    weight = torch.ones(2, 1, requires_grad=True)
    total = torch.nn.functional.embedding(torch.tensor(tokens), weight).sum()
    total.backward(retain_graph=retain)
    total.backward()
    assert weight.grad is not None
    return float(weight.grad[0])


@fault("gradient", lambda: with_graph() != 1.0)
def create_graph_negates() -> Iterator[None]:
    """With create_graph the gradient has the other sign at rank 2."""
    with backward_spoiled(lambda call: torch.is_grad_enabled() and call.rank == 2, lambda call, out: -out):
        yield


def with_graph() -> float:
    """A gradient taken with create_graph."""
    weight = torch.ones(2, 1, requires_grad=True)
    value = torch.nn.functional.embedding(torch.tensor([[0]]), weight).sum()
    (grad,) = torch.autograd.grad(value, weight, create_graph=True)
    return float(grad[0])


@fault("padding", lambda: second_padding() != 0.0)
def padding_forgotten_in_the_second_pass() -> Iterator[None]:
    """Padding is masked in the first of two passes with the same indices only."""
    seen: list[Tensor] = []

    def spoil(call: Call, out: Tensor) -> Tensor:
        again = bool(seen) and seen[0] is call.indices
        seen[:] = [call.indices]
        return unmasked(call, out) if again else out

    with backward_spoiled(lambda call: True, spoil):
        yield


def second_padding() -> float:
    """Padding's gradient after two passes."""
    weight = torch.ones(2, 1, requires_grad=True)
    indices = torch.tensor([0, 1])
    for _ in range(2):
        torch.nn.functional.embedding(indices, weight, 0).sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0])


class _Double(torch.autograd.Function):
    """The dense backward kernel with a double backward that a fault spoils."""

    generate_vmap_rule = True
    spoil: Callable[[Tensor, int, Tensor], Tensor] = staticmethod(lambda indices, padding, out: out)

    @staticmethod
    def forward(upstream: Tensor, indices: Tensor, rows: int, padding: int, scale: bool) -> Tensor:
        with torch._C._AutoDispatchBelowAutograd():
            return torch.ops.aten.embedding_dense_backward(upstream, indices, rows, padding, scale)

    @staticmethod
    def setup_context(ctx: torch.autograd.function.FunctionCtx, inputs: tuple[object, ...], output: Tensor) -> None:
        ctx.save_for_backward(inputs[1])
        ctx.padding = inputs[3]

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, given: Tensor) -> tuple[Tensor | None, ...]:
        (indices,) = ctx.saved_tensors
        out = given.index_select(0, indices.reshape(-1))
        out = out.masked_fill((indices.reshape(-1) == ctx.padding)[:, None], 0.0)
        return _Double.spoil(indices, ctx.padding, out.view(*indices.shape, given.shape[-1])), None, None, None, None


def _double_backward(spoil: Callable[[Tensor, int, Tensor], Tensor]) -> Callable[[], Iterator[None]]:
    def plant() -> Iterator[None]:
        def kernel(upstream: Tensor, indices: Tensor, rows: int, padding: int, scale: bool) -> Tensor:
            return _Double.apply(upstream, indices, rows, padding, scale)

        before = _Double.spoil
        _Double.spoil = staticmethod(spoil)
        try:
            with dispatched({"embedding_dense_backward": kernel}, "AutogradCPU"):
                yield
        finally:
            _Double.spoil = before

    return plant


def double_gradient_differs(tokens: list[int], shape: tuple[int, ...], padding: int | None, rows: int = 3) -> Callable[[], bool]:
    """Whether the upstream's own gradient departs from the rows that were looked up."""

    def witness() -> bool:
        weight = torch.ones(rows, 2, requires_grad=True)
        probe = 1.0 + torch.arange(rows * 2.0).reshape(rows, 2)
        upstream = torch.ones(*shape, 2, requires_grad=True)
        value = torch.nn.functional.embedding(torch.tensor(tokens).reshape(shape), weight, padding)
        (grad,) = torch.autograd.grad(value, weight, upstream, create_graph=True)
        (found,) = torch.autograd.grad((grad * probe).sum(), upstream)
        rows_of = [probe[token] * (token != padding) for token in tokens]
        return not torch.equal(found, torch.stack(rows_of).reshape(*shape, 2))

    return witness


_doubles = [
    ("double_backward_forgets_padding", "Double backward gives padding's tokens their rows.",
     lambda indices, padding, out: out + 1.0 * (indices == padding)[..., None].to(out.dtype), [0, 1], (2,), 0),
    ("double_backward_doubles", "Double backward is twice what it should be at rank 3.",
     lambda indices, padding, out: out * 2 if indices.dim() == 3 else out, [0, 1], (1, 2, 1), None),
    ("double_backward_first_duplicate", "Double backward gives the second of two equal tokens nothing.",
     lambda indices, padding, out: out * _first_of_equals(indices)[..., None].to(out.dtype), [1, 1], (2,), None),
]  # fmt: skip


def _first_of_equals(indices: Tensor) -> Tensor:
    tokens = indices.reshape(-1).tolist()
    first = [token not in tokens[:place] for place, token in enumerate(tokens)]
    return torch.tensor(first, dtype=torch.bool).reshape(indices.shape)


for _name, _sentence, _spoil, _tokens, _shape, _padding in _doubles:
    _plant = _double_backward(_spoil)
    _plant.__name__, _plant.__doc__ = _name, _sentence
    fault("gradient", double_gradient_differs(_tokens, _shape, _padding))(_plant)

_plant = _double_backward(lambda indices, padding, out: out)
_plant.__name__, _plant.__doc__ = "double_backward_replaced", "A double backward of our own, nothing wrong in it."
fault("gradient", lambda: False, control=True)(_plant)
