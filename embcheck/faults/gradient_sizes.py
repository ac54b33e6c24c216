"""Faults of the dense backward kernel: sizes, ranks and dtypes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.faults.kernels import Call, Tensor, backward, dense_gradient
from embcheck.faults.witnesses import gradient_differs

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


backward(
    "long_batches_overwrite_duplicates",
    "Beyond 64 tokens equal ones overwrite each other.",
    lambda c: c.numel > 64 and not c.scale,
    overwritten,
    gradient_differs([0] * 65, 2),
)
backward(
    "adjacent_duplicates_lost",
    "Of adjacent equal float64 tokens the first alone counts.",
    lambda c: c.numel > 1 and c.given.dtype == double,
    only(not_adjacent),
    gradient_differs([0, 0], 2, dtype=double),
)
backward(
    "token_3073_dropped",
    "The last of more than 3,072 tokens is dropped.",
    lambda c: c.numel > 3072,
    only(lambda c: places(c) < c.numel - 1),
    gradient_differs([1] * 3073, 2, 1),
)
backward(
    "second_section_of_rows",
    "With two threads row 1,000 gets nothing.",
    lambda c: torch.get_num_threads() == 2 and c.rows > 1000,
    row_set(1000, 0.0),
    gradient_differs([1000], 1001, threads=2),
)
backward(
    "rank3_int32_drops_last",
    "Rank 3 and int32 together: the last token is dropped.",
    lambda c: c.rank == 3 and c.indices.dtype == int32 and c.numel > 0,
    only(lambda c: places(c) < c.numel - 1),
    gradient_differs([0, 1], 2, shape=(1, 2, 1), index_dtype=int32),
)
backward(
    "scalar_counts_twice",
    "A 0-dimensional index counts twice.",
    lambda c: c.rank == 0,
    lambda c, out: out * 2,
    gradient_differs([0], 2, shape=()),
)
backward(
    "empty_batch_is_ones",
    "A batch without tokens has a gradient of ones on the last row.",
    lambda c: c.numel == 0 and c.rows > 0,
    row_set(-1, 1.0),
    gradient_differs([], 2),
)
backward(
    "wide_rows_and_many_tokens",
    "D > 128 and more than 128 tokens: the last column is dropped.",
    lambda c: c.width > 128 and c.numel > 128,
    lambda c, out: (out[:, -1].zero_(), out)[1],
    gradient_differs([0] * 129, 2, 129),
)
backward(
    "double_sums_in_single",
    "float64 gradients are summed in float32.",
    lambda c: c.given.dtype == double,
    lambda c, out: dense_gradient(c._replace(given=c.given.float())).double(),
    gradient_differs([0, 0], 2, dtype=double, upstream=lambda g: g / 3, tolerance=1e-12),
)
backward(
    "half_counts_to_sixteen",
    "float16 rows take no more than 16 tokens.",
    lambda c: c.given.dtype == half,
    only(lambda c: nth(c) < 16),
    gradient_differs([1] * 17, 2, dtype=half),
)
backward(
    "seven_rows_of_five",
    "Exactly 7 rows and 5 columns: row 6 is row 5's.",
    lambda c: c.rows == 7 and c.width == 5,
    lambda c, out: (out[6].copy_(out[5].clone()), out)[1],
    gradient_differs([5], 7, 5),
)
backward(
    "tokens_beyond_256_apart",
    "A token whose last equal lies more than 256 places back is dropped.",
    lambda c: c.numel > 257,
    only(lambda c: near_equal(c)),
    gradient_differs([0] + [1] * 257 + [0], 2),
)


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
    indices = torch.zeros(shape, dtype=torch.int64)
    found: Tensor = torch.ops.aten.embedding_dense_backward(upstream, indices, 2, -1, False)
    return found


def raises(call: Call, out: Tensor) -> Tensor:
    """No gradient at all."""
    raise RuntimeError("not implemented")


backward(
    "rank4_int32_is_refused",
    "Rank 4 and int32 have no gradient.",
    lambda c: c.rank == 4 and c.indices.dtype == int32,
    raises,
    gradient_differs([0], 2, shape=(1, 1, 1, 1), index_dtype=int32),
)
backward(
    "backward_draws_random_numbers",
    "A backward pass of float64 draws a random number.",
    lambda c: c.given.dtype == double,
    lambda c, out: (torch.rand(1), out)[1],
    lambda: draws(),
)


def draws() -> bool:
    """Whether a backward pass moves the random number generator."""
    before = torch.get_rng_state()
    raw_gradient(double, (1,))
    return not torch.equal(before, torch.get_rng_state())
