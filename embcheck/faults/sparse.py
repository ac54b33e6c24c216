"""Faults of the sparse backward kernel."""

from __future__ import annotations

from collections.abc import Callable

import torch

from embcheck.faults.kernels import Call, Tensor, coo, sparse_backward, sparse_gradient
from embcheck.faults.witnesses import gradient_differs

int32, half, double = torch.int32, torch.float16, torch.float64


def parts(out: Tensor) -> tuple[Tensor, Tensor]:
    """The tokens and values of a sparse gradient."""
    return out._indices()[0], out._values()


def changed(change: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Callable[[Call, Tensor], Tensor]:
    """The gradient with other entries."""
    return lambda call, out: coo(*change(*parts(out)), call)


def has_padding(call: Call) -> bool:
    """Whether padding is looked up."""
    return call.padding_idx >= 0 and bool((call.tokens == call.padding_idx).any())


def sparse_of(tokens: list[int], rows: int, padding_idx: int | None = None) -> Tensor:
    """A sparse gradient that torch computes."""
    weight = torch.ones(rows, 2, requires_grad=True)
    value = torch.nn.functional.embedding(torch.tensor(tokens), weight, padding_idx, sparse=True)
    return torch.autograd.grad(value.sum(), weight)[0]


sparse_backward(
    "sparse_half_keeps_first_duplicate",
    "Sparse float16 gradients keep the first of equal tokens.",
    lambda c: c.given.dtype == half and c.numel > 1,
    changed(lambda t, v: first_of_equals(t, v)),
    gradient_differs([0, 0], 2, dtype=half, sparse=True),
)
sparse_backward(
    "sparse_drops_last_of_many",
    "Sparse gradients of more than 256 tokens lose the last.",
    lambda c: c.numel > 256,
    changed(lambda t, v: (t[:-1], v[:-1])),
    gradient_differs([0] * 257, 2, sparse=True),
)
sparse_backward(
    "sparse_comes_dense",
    "A sparse gradient of int32 indices comes dense.",
    lambda c: c.indices.dtype == int32,
    lambda c, out: out.to_dense(),
    gradient_differs([0], 2, index_dtype=int32, sparse=True),
)
sparse_backward(
    "sparse_padding_kept",
    "Padding on row 0 is kept in a sparse gradient.",
    lambda c: c.padding_idx == 0,
    lambda c, out: sparse_gradient(c._replace(padding_idx=-1)),
    gradient_differs([0], 2, sparse=True, padding_idx=0),
    "padding",
)
sparse_backward(
    "sparse_padding_entries_of_zero",
    "Padding tokens stay in a sparse gradient, as zeros.",
    has_padding,
    lambda c, out: coo(c.tokens, c.upstream * (c.tokens != c.padding_idx)[:, None], c),
    lambda: sparse_of([0, 1], 2, 0)._nnz() != 1,
    "padding",
)
sparse_backward(
    "sparse_all_padding_kept",
    "A sparse batch of nothing but padding keeps its last token.",
    lambda c: c.numel > 0 and bool((c.tokens == c.padding_idx).all()),
    lambda c, out: coo(c.tokens[-1:], c.upstream[-1:], c),
    gradient_differs([1, 1], 2, sparse=True, padding_idx=1),
    "padding",
)
sparse_backward(
    "sparse_claims_coalesced",
    "A sparse gradient with duplicates says that it has none.",
    lambda c: c.numel > 1,
    lambda c, out: coo(*parts(out), c, is_coalesced=True),
    lambda: sparse_of([0, 0], 2).is_coalesced(),
)
sparse_backward(
    "sparse_double_in_single",
    "Sparse float64 gradients pass through float32.",
    lambda c: c.given.dtype == double,
    changed(lambda t, v: (t, v.float().double())),
    gradient_differs([0], 2, dtype=double, sparse=True, upstream=lambda g: g / 3),
)
sparse_backward(
    "sparse_tall_table_wraps",
    "Sparse gradients of more than 1,024 rows keep ten bits of the row.",
    lambda c: c.rows > 1024,
    changed(lambda t, v: (t % 1024, v)),
    gradient_differs([1024], 1025, sparse=True),
)
sparse_backward(
    "sparse_rank4_in_reverse",
    "Sparse gradients at rank 4 have their values in reverse.",
    lambda c: c.rank == 4 and c.numel > 1,
    changed(lambda t, v: (t, v.flip(0))),
    gradient_differs([0, 1], 2, shape=(1, 1, 2, 1), sparse=True),
)
sparse_backward(
    "sparse_doubles_upstream",
    "A sparse gradient of odd width doubles the upstream gradient once it is done.",
    lambda c: c.width % 2 == 1 and c.given.is_contiguous(),
    lambda c, out: (coo(out._indices()[0], out._values().clone(), c), c.given.detach().mul_(2))[0],
    gradient_differs([0], 2, 1, sparse=True, passes=2),
)


def first_of_equals(tokens: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Entries without those whose token came before."""
    known = tokens.tolist()
    kept = torch.tensor([token not in known[:place] for place, token in enumerate(known)], dtype=torch.bool)
    return tokens[kept], values[kept]
