"""Faults of the backward kernels of the embedding bag: the dense and sparse gradient, and that of per_sample_weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from embcheck.fault import Fault, Witness, add, dispatched, fault
from embcheck.faults.bag_kernels import MAX, MEAN, SUM, showing, wide
from embcheck.faults.kernels import Tensor


class Back(NamedTuple):
    """The arguments of a backward kernel; ``padding`` is -1 without padding."""

    grad: Tensor
    indices: Tensor
    bag_of: Tensor
    sizes: Tensor
    taken: Tensor
    rows: int
    scale: bool
    mode: int
    samples: Tensor | None
    padding: int


def dense(back: Back) -> Tensor:
    """The gradient of the table, shape ``(rows, width)``."""
    width, grad = back.grad.shape[1], wide(back.grad)
    result = torch.zeros(back.rows, width, dtype=grad.dtype)
    if not len(grad):
        return result.to(back.grad.dtype)
    if back.mode == MAX:
        full = back.sizes > 0
        result.scatter_add_(0, back.taken.long()[full], grad[full])
        return result.to(back.grad.dtype)
    tokens = back.indices.long()
    bags = back.bag_of.long().clamp(max=len(grad) - 1)
    share = torch.ones(len(tokens), dtype=grad.dtype) if back.samples is None else wide(back.samples)
    if back.mode == MEAN:
        share = share / back.sizes.clamp(min=1)[bags]
    if back.scale:
        share = share / torch.bincount(tokens, minlength=back.rows)[tokens]
    kept = tokens != back.padding
    result.index_add_(0, tokens[kept], (grad[bags] * share[:, None])[kept])
    return result.to(back.grad.dtype)


When = Callable[[Back], bool]
Change = Callable[[Back], Back]
Spoil = Callable[[Back, Tensor], Tensor]


@contextmanager
def backward_spoiled(when: When, change: Change | None = None, spoil: Spoil | None = None) -> Iterator[None]:
    """The dense backward kernel with its arguments changed, or its result spoiled, on some calls."""

    def kernel(
        grad: Tensor, indices: Tensor, bag_of: Tensor, sizes: Tensor, taken: Tensor, rows: int, scale: bool, mode: int,
        samples: Tensor | None, padding: int = -1,
    ) -> Tensor:  # fmt: skip
        back = Back(grad, indices, bag_of, sizes, taken, rows, scale, mode, samples, padding)
        if not when(back):
            return dense(back)
        back = change(back) if change else back
        return spoil(back, dense(back)) if spoil else dense(back)

    with dispatched({"_embedding_bag_dense_backward": kernel}):
        yield


def backward(
    name: str, sentence: str, when: When, witness: Witness, change: Change | None = None, spoil: Spoil | None = None
) -> Fault:
    """Registers a fault of the dense backward kernel."""
    return add(Fault(name, "bag", sentence, lambda: backward_spoiled(when, change, spoil), witness))


@fault("bag", lambda: False, control=True)
def bag_dense_backward_replaced() -> Iterator[None]:
    """A dense backward kernel of our own with nothing wrong in it."""
    with backward_spoiled(lambda back: False):
        yield


def tied(back: Back) -> Tensor:
    """The gradient doubled in the first row that is touched."""
    result = dense(back)
    touched = torch.nonzero(result.any(1)).flatten()[:1]
    return result.index_add(0, touched, result[touched])


backward(
    "bagb_empty_max_feeds_row_zero", "The gradient of an empty bag's maximum goes to row 0.",
    lambda back: back.mode == MAX and bool((back.sizes == 0).any()), showing([1], [0, 0], mode="max"),
    lambda back: back._replace(sizes=back.sizes.clamp(min=1)),
)  # fmt: skip
backward(
    "bagb_max_of_many_bags", "A maximum's gradient from more than 32 bags leaves out the last.",
    lambda back: back.mode == MAX and len(back.sizes) > 32, showing([0] * 33, list(range(33)), mode="max"),
    lambda back: back._replace(sizes=torch.cat([back.sizes[:-1], torch.zeros_like(back.sizes[:1])])),
)  # fmt: skip
backward(
    "bagb_max_overwrites", "Of several bags whose maximum is one row, the last alone gives it a gradient, in float64.",
    lambda back: back.mode == MAX and back.grad.dtype == torch.float64 and len(back.grad) > 0,
    showing([0, 0], [0, 1], mode="max", dtype=torch.float64),
    spoil=lambda back, out: torch.zeros_like(out).scatter_(
        0, back.taken.long()[back.sizes > 0], back.grad[back.sizes > 0]
    ),
)  # fmt: skip
backward(
    "bagb_max_ties_get_all", "Every token of the maximum's row counts: rows that tie get the gradient twice.",
    lambda back: back.mode == MAX and len(back.indices) == 8 and back.rows == 8,
    lambda: ties() != [1.0] * 8, spoil=lambda back, out: tied(back),
)  # fmt: skip
backward(
    "bagb_mean_counts_padding", "A mean's gradient is divided by a number that counts padding.",
    lambda back: back.mode == MEAN and back.padding >= 0 and len(back.sizes) > 0, showing([0, 1], padding_idx=1),
    lambda back: back._replace(sizes=torch.bincount(back.bag_of.long(), minlength=len(back.sizes))),
)  # fmt: skip
backward(
    "bagb_mean_feeds_padding", "A mean's padding row gets a gradient.",
    lambda back: back.mode == MEAN and back.padding >= 0, showing([0, 1], padding_idx=1),
    lambda back: back._replace(padding=-1),
)  # fmt: skip
backward(
    "bagb_padding_of_no_bags", "Where every token is padding, the row next to it gets a gradient of 1.",
    lambda back: back.padding >= 0 and len(back.indices) > 0 and bool((back.indices == back.padding).all()),
    showing([1], padding_idx=1), spoil=lambda back, out: out.index_fill(0, torch.tensor([0]), 1.0),
)  # fmt: skip
backward(
    "bagb_counts_up_to_two", "scale_grad_by_freq counts to 2.",
    lambda back: back.scale, showing([0, 0, 0], mode="sum", scale_grad_by_freq=True),
    spoil=lambda back, out: out * (
        (counts := torch.bincount(back.indices.long(), minlength=back.rows).clamp(min=1)) / counts.clamp(max=2)
    ).to(out.dtype)[:, None],
)  # fmt: skip
backward(
    "bagb_frequency_of_means", "scale_grad_by_freq of a mean is ignored.",
    lambda back: back.scale and back.mode == MEAN, showing([0, 0], scale_grad_by_freq=True),
    lambda back: back._replace(scale=False),
)  # fmt: skip
backward(
    "bagb_tokens_over_a_thousand", "Tokens after the 1,000th give no gradient.",
    lambda back: len(back.indices) > 1000 and back.mode != MAX, showing([0] * 1001, mode="sum"),
    lambda back: back._replace(
        indices=back.indices[:1000], bag_of=back.bag_of[:1000],
        samples=None if back.samples is None else back.samples[:1000],
    ),
)  # fmt: skip
backward(
    "bagb_weights_of_one_column", "With one column the gradient forgets per_sample_weights.",
    lambda back: back.samples is not None and back.grad.shape[1] == 1,
    showing([0], width=1, mode="sum", samples=[2.0]), lambda back: back._replace(samples=None),
)  # fmt: skip
backward(
    "bagb_weights_pass_padding", "With padding, the gradient takes the next token's weight.",
    lambda back: back.samples is not None and back.padding >= 0,
    showing([0, 1], mode="sum", samples=[2.0, 3.0], padding_idx=1),
    lambda back: back._replace(samples=back.samples.roll(-1)),  # type: ignore[union-attr]
)  # fmt: skip
backward(
    "bagb_weights_below_zero", "Negative weights give the gradient of positive ones, in float16.",
    lambda back: back.samples is not None and back.grad.dtype == torch.float16,
    showing([0], mode="sum", samples=[-1.0], dtype=torch.float16),
    lambda back: back._replace(samples=back.samples.abs()),  # type: ignore[union-attr]
)  # fmt: skip
backward(
    "bagb_width_of_eight", "A multiple of 8 columns loses the gradient of the last.",
    lambda back: back.grad.shape[1] % 8 == 0 and back.grad.shape[1] > 0 and back.mode == SUM,
    showing([0], width=8, mode="sum"), spoil=lambda back, out: torch.cat([out[:, :-1], 0 * out[:, -1:]], 1),
)  # fmt: skip
backward(
    "bagb_forgets_strides", "An upstream gradient that is transposed reads as if it were not.",
    lambda back: back.grad.dim() == 2 and back.grad.stride() == (1, len(back.grad)) and back.grad.shape[1] > 1 < len(back.grad),
    showing([0, 1], [0, 1], mode="sum", upstream=torch.tensor([[1.0, 2.0], [3.0, 4.0]]).t()),
    lambda back: back._replace(grad=back.grad.as_strided(back.grad.shape, (back.grad.shape[1], 1))),
)  # fmt: skip
backward(
    "bagb_untouched_rows", "With int32 tokens the last row, if no bag holds it, gets a gradient of 1.",
    lambda back: back.indices.dtype == torch.int32 and len(back.indices) > 0 and not bool((back.indices == back.rows - 1).any()),
    showing([0], mode="sum", index_dtype=torch.int32),
    spoil=lambda back, out: out.index_fill(0, torch.tensor([back.rows - 1]), 1.0),
)  # fmt: skip
backward(
    "bagb_bfloat16_rounds_twice", "A sum's gradient in bfloat16 loses its last 4 bits.",
    lambda back: back.grad.dtype == torch.bfloat16 and back.mode == SUM,
    showing([0], mode="sum", dtype=torch.bfloat16, upstream=torch.full((1, 2), 33.0, dtype=torch.bfloat16)),
    spoil=lambda back, out: (out.view(torch.int16) & ~15).view(torch.bfloat16),
)  # fmt: skip


def ties() -> list[float]:
    """The gradient of eight equal rows' maximum, each in its own bag of two."""
    weight = torch.zeros(8, 1, requires_grad=True)
    torch.nn.functional.embedding_bag(torch.arange(8)[:, None], weight, mode="max").sum().backward()
    assert weight.grad is not None
    found: list[float] = weight.grad.flatten().tolist()
    return found


# -- the gradient of per_sample_weights ----------------------------------------------------------------------------

#: ``spoil(result, grad, weight, indices, padding)``
Spoiled = Callable[[Tensor, Tensor, Tensor, Tensor, int], Tensor]


@contextmanager
def samples_spoiled(spoil: Spoiled) -> Iterator[None]:
    """The backward kernel of per_sample_weights with its result spoiled."""

    def kernel(
        grad: Tensor, weight: Tensor, indices: Tensor, offsets: Tensor, bag_of: Tensor, mode: int, padding: int = -1
    ) -> Tensor:
        tokens = indices.long()
        if not len(grad):
            return torch.zeros(len(tokens), dtype=weight.dtype)
        places = torch.arange(len(tokens))
        bags = bag_of.long() if len(bag_of) else torch.searchsorted(offsets.long(), places, right=True) - 1
        bags = bags.clamp(0, len(grad) - 1)
        result = (wide(grad)[bags] * wide(weight)[tokens]).sum(1)
        result = torch.where(tokens == padding, 0, result).to(weight.dtype)
        return spoil(result, grad, weight, tokens, padding)

    with dispatched({"_embedding_bag_per_sample_weights_backward": kernel}):
        yield


def samples_backward(name: str, sentence: str, spoil: Spoiled, witness: Witness) -> Fault:
    """Registers a fault of the gradient of per_sample_weights."""
    return add(Fault(name, "bag", sentence, lambda: samples_spoiled(spoil), witness))


@fault("bag", lambda: False, control=True)
def bag_samples_backward_replaced() -> Iterator[None]:
    """The gradient of per_sample_weights by other operators, with nothing wrong in it."""
    with samples_spoiled(lambda out, grad, weight, tokens, padding: out):
        yield


samples_backward(
    "bags_padding_has_gradient", "The weights of padding get a gradient of 1.",
    lambda out, grad, weight, tokens, padding: torch.where(tokens == padding, 1.0, out).to(out.dtype),
    showing([0, 1], mode="sum", samples=[1.0, 1.0], padding_idx=1),
)  # fmt: skip
samples_backward(
    "bags_the_65th", "The 65th weight gets no gradient.",
    lambda out, grad, weight, tokens, padding: torch.where(torch.arange(len(out)) == 64, 0.0, out).to(out.dtype),
    showing([0] * 65, mode="sum", samples=[1.0] * 65),
)  # fmt: skip
samples_backward(
    "bags_half_tail", "In bfloat16 columns beyond 8 don't count.",
    lambda out, grad, weight, tokens, padding: out * 0.5 if out.dtype == torch.bfloat16 and grad.shape[1] > 8 else out,
    showing([0], width=9, mode="sum", samples=[1.0], dtype=torch.bfloat16),
)  # fmt: skip
samples_backward(
    "bags_wide_tail", "Columns beyond 1024 don't count for the weights' gradients.",
    lambda out, grad, weight, tokens, padding: out * 0.5 if grad.shape[1] > 1024 else out,
    showing([0], width=1025, mode="sum", samples=[1.0]),
)  # fmt: skip
samples_backward(
    "bags_reversed", "The weights' gradients of exactly six tokens come in reverse.",
    lambda out, grad, weight, tokens, padding: out.flip(0) if len(out) == 6 else out,
    showing([0, 1, 2, 3, 0, 1], mode="sum", samples=[1.0] * 6),
)  # fmt: skip
samples_backward(
    "bags_absolute", "The weights' gradients are not negative.",
    lambda out, grad, weight, tokens, padding: out.abs(),
    showing([0], mode="sum", samples=[1.0], upstream=torch.tensor([[-1.0, -1.0]])),
)  # fmt: skip


# -- the sparse gradient -------------------------------------------------------------------------------------------


def sparse_backward(
    name: str, sentence: str, change: Callable[[Back], Back], witness: Witness, *, once: bool = False
) -> Fault:
    """Registers a fault of the sparse gradient; ``once``: each row has its last entry alone."""

    def kernel(
        grad: Tensor, indices: Tensor, offsets: Tensor, bag_of: Tensor, sizes: Tensor, rows: int, scale: bool, mode: int,
        samples: Tensor | None, padding: int = -1,
    ) -> Tensor:  # fmt: skip
        if scale:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        given = Back(grad, indices, bag_of, sizes, sizes, rows, scale, mode, samples, padding)
        back = change(given)
        tokens, bags = back.indices.long(), back.bag_of.long()
        if len(bags) and int(bags.max()) >= len(grad):
            raise IndexError("index out of range in self")
        values = wide(grad)[bags]
        if back.mode == MEAN:
            values = values / back.sizes.clamp(min=1)[bags][:, None]
        if back.samples is not None:
            values = values * wide(back.samples)[:, None]
        kept = tokens != back.padding
        if once:
            later = (tokens[None] == tokens[:, None]).triu(1).any(1)
            kept &= ~later
        shape = (rows, grad.shape[1])
        return torch.sparse_coo_tensor(tokens[kept][None], values[kept].to(grad.dtype), shape, check_invariants=False)

    return add(Fault(name, "bag", sentence, lambda: dispatched({"_embedding_bag_sparse_backward": kernel}), witness))


sparse_backward(
    "bagc_mean_is_not_divided", "The sparse gradient of a mean is that of a sum.",
    lambda back: back._replace(mode=SUM), showing([0, 1], sparse=True),
)  # fmt: skip
sparse_backward(
    "bagc_feeds_padding", "The sparse gradient has entries for padding.",
    lambda back: back._replace(padding=-1), showing([0, 1], sparse=True, padding_idx=1),
)  # fmt: skip
sparse_backward(
    "bagc_overwrites", "The sparse gradient of a row that comes twice is its last entry.",
    lambda back: back, showing([0, 0], mode="sum", sparse=True), once=True,
)  # fmt: skip
sparse_backward(
    "bagc_forgets_weights", "The sparse gradient with padding forgets per_sample_weights.",
    lambda back: back._replace(samples=None) if back.padding >= 0 else back,
    showing([0], mode="sum", sparse=True, samples=[2.0], padding_idx=1),
)  # fmt: skip
