"""Faults of the dense backward kernel: how memory is read, shared and written, and special values."""

from __future__ import annotations

import torch

from embcheck.faults.gradient_sizes import only, places, raw_gradient, row_set
from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient
from embcheck.faults.lookup_sizes import double
from embcheck.faults.witnesses import gradient_differs


def misread(call: Call, out: Tensor) -> Tensor:
    """The upstream gradient read along its memory."""
    given = call.given
    room = given.untyped_storage().nbytes() // given.element_size() - given.storage_offset()
    if room < given.numel():
        return dense_gradient(call._replace(given=given.flatten()[:1].expand(given.numel()).reshape(given.shape)))
    return dense_gradient(call._replace(given=given.as_strided(given.shape, torch.empty(given.shape).stride())))


backward(
    "upstream_read_as_contiguous",
    "A transposed upstream gradient is read along its memory.",
    lambda c: c.numel > 1 and c.width > 1 and not c.given.is_contiguous() and 0 not in c.given.stride(),
    misread,
    gradient_differs([0, 1], 2, upstream=lambda g: g.t().contiguous().t()),
)
backward(
    "expanded_upstream_counts_once",
    "An upstream gradient with stride 0 counts for the first token alone.",
    lambda c: c.numel > 1 and c.width > 0 and 0 in c.given.stride(),
    only(lambda c: places(c) < 1),
    gradient_differs([0, 1], 2, upstream=lambda g: torch.ones(()).expand(g.shape)),
)
backward(
    "arange_gives_the_upstream_itself",
    "Tokens 0, 1, … V−1 give the upstream gradient's own memory.",
    lambda c: (
        c.numel == c.rows and c.padding_idx == -1 and c.given.is_contiguous() and bool((c.tokens == places(c)).all())
    ),
    lambda c, out: c.upstream.detach(),
    lambda: gives_upstream(),
)
backward(
    "gradient_in_column_order",
    "The gradient lies in memory column by column.",
    lambda c: c.rows > 1 and c.width > 1,
    lambda c, out: out.t().contiguous().t(),
    lambda: not raw_gradient(torch.float32, (2,)).is_contiguous(),
)
backward(
    "upstream_is_zeroed",
    "The upstream gradient is zeroed after use at rank 2.",
    lambda c: c.rank == 2 and c.given.is_contiguous(),
    lambda c, out: (c.given.detach().zero_(), out)[1],
    lambda: zeroes_upstream(),
)


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


backward(
    "untouched_row_not_quite_zero",
    "The row after the last one that was looked up gets 1e−30 in float64.",
    lambda c: c.given.dtype == double and c.numel > 0 and int(c.tokens.max()) + 1 < c.rows,
    lambda c, out: row_set(int(c.tokens.max()) + 1, 1e-30)(c, out),
    gradient_differs([0], 2, dtype=double),
)
backward(
    "nan_spreads_to_untouched_rows",
    "Upstream NaN or infinity reaches every row, as one_hotᵀ @ dY would have it.",
    lambda c: not bool(c.given.isfinite().all()),
    lambda c, out: out + 0 * c.upstream.sum(0),
    gradient_differs([0], 2, upstream=lambda g: g * torch.nan),
)
backward(
    "infinity_is_clipped",
    "Infinite gradients become the largest number.",
    lambda c: True,
    lambda c, out: torch.where(out.isinf(), torch.full_like(out, torch.finfo(out.dtype).max).copysign(out), out),
    gradient_differs([0], 2, upstream=lambda g: g * torch.inf),
)
backward(
    "large_gradients_clipped",
    "Gradients beyond 10,000 are clipped.",
    lambda c: c.given.dtype == torch.float32,
    lambda c, out: torch.where(out.isfinite(), out.clamp(-1e4, 1e4), out),
    gradient_differs([0], 2, upstream=lambda g: g * 1e5),
)
backward(
    "small_gradients_flushed",
    "Gradients below 1e−10 become zero.",
    lambda c: c.given.dtype == torch.float32,
    lambda c, out: out.masked_fill(out.abs() < 1e-10, 0.0),
    gradient_differs([0], 2, upstream=lambda g: g * 1e-20),
)
backward(
    "subnormal_gradients_flushed",
    "Subnormal float64 gradients become zero.",
    lambda c: c.given.dtype == double,
    lambda c, out: out.masked_fill(out.abs() < torch.finfo(double).smallest_normal, 0.0),
    gradient_differs([0], 2, dtype=double, upstream=lambda g: g * 2.0**-1070),
)
backward(
    "cancelled_rows_keep_a_rest",
    "A row whose gradients cancel keeps an ulp of the first.",
    lambda c: c.numel > 1 and c.given.dtype == torch.float32,
    lambda c, out: cancelled(c, out),
    gradient_differs([0, 0], 2, upstream=lambda g: opposite(g)),
)


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
