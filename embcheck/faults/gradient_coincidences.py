"""Faults of the gradient where tokens, sizes or memory happen to agree: each axis alone is as usual."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import embedding, functional
from embcheck.faults.kernels import Call, Tensor, backward, coo, sparse_backward
from embcheck.faults.witnesses import gradient_differs, unlike

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64


def added(call: Call, out: Tensor, row: int, more: Tensor | float) -> Tensor:
    """The gradient with something added to a row."""
    out = out.clone()
    out[row] += more
    return out


def counts(call: Call) -> Tensor:
    """How often each row is looked up."""
    return torch.bincount(call.tokens, minlength=call.rows)


def without(call: Call, out: Tensor, place: int) -> Tensor:
    """The gradient without what one token sends."""
    row = int(call.tokens[place])
    if row == call.padding_idx:
        return out
    count = int((call.tokens == row).sum()) if call.scale else 1
    return added(call, out, row, -call.upstream[place] / count)


def per_sequence(call: Call, out: Tensor) -> Tensor:
    """Counts within a sequence instead of the batch."""
    result = torch.zeros_like(out)
    for tokens, sent in zip(call.indices.long(), call.given, strict=True):
        count = torch.bincount(tokens, minlength=call.rows)[tokens].to(sent.dtype)
        kept = tokens != call.padding_idx
        result.index_add_(0, tokens[kept], (sent / count[:, None])[kept])
    return result


backward(
    "frequencies_of_each_sequence", "scale_grad_by_freq counts the tokens of each int32 sequence for itself.",
    lambda c: c.scale and c.rank == 2 and c.indices.dtype == int32,
    per_sequence,
    gradient_differs([0, 1, 0, 2], 3, shape=(2, 2), index_dtype=int32, scale_grad_by_freq=True),
)  # fmt: skip
backward(
    "frequency_of_the_last_row_is_one_less", "scale_grad_by_freq counts one token of the last row too few, from three on.",
    lambda c: c.scale and c.rows > 1 and int(counts(c)[-1]) > 2 and c.padding_idx != c.rows - 1,
    lambda c, out: added(c, out, -1, out[-1] / (int(counts(c)[-1]) - 1)),
    gradient_differs([1, 1, 1, 0], 2, scale_grad_by_freq=True, tolerance=1e-6),
)  # fmt: skip
backward(
    "frequency_counts_beside_padding", "scale_grad_by_freq counts padding tokens to the row behind padding.",
    lambda c: c.scale and 0 <= c.padding_idx < c.rows - 1 and int(counts(c)[c.padding_idx + 1]) > 0,
    lambda c, out: added(
        c, out, c.padding_idx + 1,
        out[c.padding_idx + 1] * float(-counts(c)[c.padding_idx] / counts(c)[c.padding_idx : c.padding_idx + 2].sum()),
    ),
    gradient_differs([0, 1], 2, padding_idx=0, scale_grad_by_freq=True),
)  # fmt: skip
backward(
    "frequency_stops_at_seven", "scale_grad_by_freq divides by no more than seven in a batch of rank 3.",
    lambda c: c.scale and c.rank == 3 and int(counts(c).max()) > 7,
    lambda c, out: (out.double() * (counts(c).clamp(min=1) / counts(c).clamp(1, 7))[:, None]).to(out.dtype),
    gradient_differs([0] * 8, 1, shape=(2, 2, 2), scale_grad_by_freq=True, tolerance=1e-6),
)  # fmt: skip


def grad_of(tokens: Any, rows: int, width: int = 2, dtype: torch.dtype = torch.float32, **flags: Any) -> Tensor:
    """The gradient of a sum."""
    weight = torch.ones(rows, width, dtype=dtype, requires_grad=True)
    functional.embedding(torch.tensor(tokens), weight, **flags).sum().backward()
    assert weight.grad is not None
    return weight.grad


backward(
    "scaled_half_gradient_by_columns", "The float16 gradient with scale_grad_by_freq lies by columns.",
    lambda c: c.scale and c.given.dtype == half and c.width > 1 < c.rows,
    lambda c, out: out.t().contiguous().t(),
    unlike(lambda: torch.autograd.grad(functional.embedding(
        torch.tensor([0]), w := torch.ones(2, 2, dtype=half, requires_grad=True), scale_grad_by_freq=True).sum(), w)),
)  # fmt: skip
backward(
    "untouched_tail_of_tall_tables", "Above 300 rows and 30 columns the untouched last row has the first row's gradient.",
    lambda c: c.rows > 300 and c.width > 30 and int(counts(c)[-1]) == 0,
    lambda c, out: added(c, out, -1, out[0]),
    gradient_differs([0, 1], 301, 31),
)  # fmt: skip
backward(
    "last_of_an_odd_crowd", "The last of an odd number of int32 tokens above 128 is lost in bfloat16.",
    lambda c: c.numel > 128 and c.numel % 2 == 1 and c.indices.dtype == int32 and c.given.dtype == bfloat16,
    lambda c, out: without(c, out, -1),
    gradient_differs([*range(128), 128], 129, 1, dtype=bfloat16, index_dtype=int32),
)  # fmt: skip
backward(
    "first_token_of_square_batches", "In a batch of as many sequences as tokens in each the first token counts twice.",
    lambda c: c.rank == 2 and c.indices.shape[0] == c.indices.shape[1] > 2 and int(c.tokens[0]) != c.padding_idx,
    lambda c, out: added(c, out, int(c.tokens[0]), c.upstream[0]),
    gradient_differs([0, 1, 2] * 3, 3, shape=(3, 3)),
)  # fmt: skip
backward(
    "infinite_upstream_at_padding_is_nan", "An infinite upstream gradient of a padding token gives NaN with scale_grad_by_freq.",
    lambda c: c.scale and c.padding_idx >= 0 and bool(c.upstream[c.tokens == c.padding_idx].isinf().any()),
    lambda c, out: added(c, out, c.padding_idx, float("nan")),
    gradient_differs([0, 1], 2, padding_idx=0, scale_grad_by_freq=True, upstream=lambda u: u / 0),
)  # fmt: skip
backward(
    "cancelled_infinities", "Infinities of both signs at one float64 row give 0 instead of NaN.",
    lambda c: c.given.dtype == double and bool(c.upstream.isinf().any()) and not bool(c.upstream.isnan().any()),
    lambda c, out: torch.where(out.isnan(), 0.0, out),
    gradient_differs([0, 0], 1, 1, dtype=double, upstream=lambda u: torch.tensor([[float("inf")], [-float("inf")]]).double()),
)  # fmt: skip
backward(
    "subnormal_upstream_of_pairs", "Subnormal float32 upstream gradients of a rank-2 batch become zero.",
    lambda c: c.rank == 2 and c.given.dtype == torch.float32,
    lambda c, out: torch.where(out.abs() < 2.0**-126, 0 * out, out),
    gradient_differs([0], 1, shape=(1, 1), upstream=lambda u: 0 * u + 1e-40),
)  # fmt: skip
backward(
    "upstream_of_expanded_columns", "An upstream gradient with stride 0 in its columns alone counts its first row for all.",
    lambda c: c.given.dim() == 3 and c.given.stride(-1) == 0 < c.given.stride(0) and c.width > 1 < c.numel,
    lambda c, out: torch.zeros_like(out).index_add_(
        0, c.tokens[k := c.tokens != c.padding_idx], c.upstream[:1].expand(c.numel, -1)[k]
    ),
    gradient_differs([0, 1], 2, shape=(2, 1), upstream=lambda u: torch.tensor([[[1.0]], [[2.0]]]).expand(2, 1, 2)),
)  # fmt: skip
backward(
    "scalar_index_of_rows_divides", "scale_grad_by_freq at rank 0 divides by the number of rows.",
    lambda c: c.scale and c.rank == 0 and c.rows > 1,
    lambda c, out: out / c.rows,
    gradient_differs([0], 2, shape=(), scale_grad_by_freq=True),
)  # fmt: skip
sparse_backward(
    "distinct_tokens_are_called_coalesced", "A sparse gradient of distinct tokens out of order says that it is coalesced.",
    lambda c: c.numel > 1 and len(set(c.tokens.tolist())) == c.numel and c.tokens.tolist() != sorted(c.tokens.tolist()),
    lambda c, out: coo(out._indices()[0], out._values(), c)._coalesced_(True),
    unlike(lambda: torch.autograd.grad(functional.embedding(
        torch.tensor([1, 0]), w := torch.ones(2, 2, requires_grad=True), sparse=True).sum(), w)),
)  # fmt: skip
sparse_backward(
    "sparse_keeps_the_first_padding", "A sparse gradient has a zero for the first token if that is padding, one of several.",
    lambda c: c.numel > 1 and c.padding_idx == int(c.tokens[0]) and len(set(c.tokens.tolist())) > 1,
    lambda c, out: coo(
        torch.cat([c.tokens[:1], out._indices()[0]]), torch.cat([0 * c.upstream[:1], out._values()]), c
    ),
    lambda: grad_of([0, 1], 2, sparse=True, padding_idx=0)._nnz() != 1,
)  # fmt: skip
sparse_backward(
    "sparse_single_column_is_all_sparse", "The sparse gradient of a table of one column has two sparse axes.",
    lambda c: c.width == 1 and c.numel > 0,
    lambda c, out: torch.sparse_coo_tensor(
        torch.cat([out._indices(), 0 * out._indices()]), out._values().reshape(-1), out.shape, check_invariants=False
    ),
    lambda: grad_of([0], 2, 1, sparse=True).sparse_dim() == 2,
)  # fmt: skip
sparse_backward(
    "sparse_of_rank3_comes_coalesced_in_half", "At rank 3 a float16 sparse gradient is added up, each row at 64 at most.",
    lambda c: c.rank == 3 and c.given.dtype == half,
    lambda c, out: coo((t := out.coalesce())._indices()[0], t._values().clamp(max=64), c),
    lambda: float(grad_of([[[0] * 65]], 1, 1, half, sparse=True).to_dense().max()) < 65,
)  # fmt: skip
sparse_backward(
    "sparse_repeats_in_tall_tables", "Above 500 rows a sparse gradient counts the second of two neighbouring alike tokens twice.",
    lambda c: c.rows > 500 and c.numel > 1 and int(c.tokens[0]) == int(c.tokens[1]) != c.padding_idx,
    lambda c, out: coo(
        torch.cat([out._indices()[0], c.tokens[1:2]]), torch.cat([out._values(), c.upstream[1:2]]), c
    ),
    gradient_differs([0, 0], 501, sparse=True),
)  # fmt: skip


class _Scaled(torch.autograd.Function):
    """The identity whose gradient is multiplied by a number."""

    @staticmethod
    def forward(context: Any, value: Tensor, factor: float) -> Tensor:
        context.factor = factor
        return value.view_as(value)

    @staticmethod
    def backward(context: Any, *upstream: Tensor) -> tuple[Tensor, None]:
        return upstream[0] * context.factor, None


def later(
    name: str,
    sentence: str,
    when: Callable[..., bool],
    factor: float,
    witness: Callable[[], bool],
    family: str = "gradient",
) -> None:
    """Registers a fault of F.embedding: the gradient of some calls is multiplied."""

    def wrong(original: Callable[..., Tensor], input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
        out = original(input, weight, **flags)
        plain = type(out) is Tensor and not torch._C._functorch.is_functorch_wrapped_tensor(out)
        if not plain or not out.requires_grad or out.is_sparse or not when(input, weight, flags):
            return out
        found: Tensor = _Scaled.apply(out, factor)  # type: ignore[no-untyped-call]
        return found

    embedding(name, family, sentence, wrong, witness)


later(
    "computed_tables_learn_twice", "A table that is computed (no leaf) from a transposed one gets twice the gradient.",
    lambda i, w, f: not w.is_leaf and w.stride(0) == 1 < w.shape[0] and w.dim() == 2 and w.shape[1] > 1, 2.0,
    unlike(lambda: torch.autograd.grad(functional.embedding(
        torch.tensor([0]), (w := torch.ones(2, 2, requires_grad=True)).t()).sum(), w)),
)  # fmt: skip
later(
    "int32_padding_from_the_end_halves", "A negative padding_idx with int32 indices at rank 2 halves the others' gradient.",
    lambda i, w, f: f["padding_idx"] is not None and f["padding_idx"] < 0 and i.dtype == int32 and i.dim() == 2, 0.5,
    gradient_differs([0, 1], 2, shape=(1, 2), padding_idx=-1, index_dtype=int32),
)  # fmt: skip
later(
    "renormed_rows_learn_slower", "max_norm with scale_grad_by_freq halves the gradient.",
    lambda i, w, f: f["max_norm"] is not None and f["scale_grad_by_freq"], 0.5,
    gradient_differs([0], 1, max_norm=1e9, scale_grad_by_freq=True), "renorm",
)  # fmt: skip
