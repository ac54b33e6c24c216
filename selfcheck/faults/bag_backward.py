"""Faults of the backward kernels of the embedding bag: the dense and sparse gradient, and that of per_sample_weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from selfcheck.fault import dispatched, fault
from selfcheck.faults.bag_kernels import MAX, MEAN, wide
from selfcheck.faults.kernels import Tensor


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


@fault("embedding_bag", control=True)
def bag_samples_backward_replaced() -> Iterator[None]:
    """The gradient of per_sample_weights by other operators, with nothing wrong in it."""
    with samples_spoiled(lambda out, grad, weight, tokens, padding: out):
        yield
