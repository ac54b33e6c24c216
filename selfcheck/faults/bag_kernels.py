"""Correct kernels of the embedding bag written with other operators, for faults to spoil, and how such faults are planted.

The kernels obey the definition; where ATen's own don't (see the ledger), they may differ from those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch

from selfcheck.fault import Fault, add, dispatched
from selfcheck.faults.kernels import Tensor

SUM, MEAN, MAX = 0, 1, 2
#: The two forward kernels: with and without a derivative.
TRAINING, FROZEN = "_embedding_bag", "_embedding_bag_forward_only"


class Bag(NamedTuple):
    """The arguments of a forward kernel; ``padding`` is -1 without padding."""

    weight: Tensor
    indices: Tensor
    offsets: Tensor
    mode: int
    samples: Tensor | None
    last: bool
    padding: int
    sparse: bool
    given: Tensor

    @property
    def bags(self) -> int:
        """How many bags there are."""
        return max(len(self.offsets) - int(self.last), 0)

    @property
    def end(self) -> int:
        """Where the last bag ends."""
        return int(self.offsets[-1]) if self.last else len(self.indices)

    @property
    def bag_of(self) -> Tensor:
        """The bag of each token; those behind the last bag's end are counted to it."""
        places = torch.arange(len(self.indices))
        return (torch.searchsorted(self.offsets[: self.bags].contiguous(), places, right=True) - 1).clamp_(min=0)

    @property
    def kept(self) -> Tensor:
        """Which tokens are reduced."""
        places = torch.arange(len(self.indices))
        return (self.indices != self.padding) & (places < self.end) & (self.bags > 0)

    @property
    def sizes(self) -> Tensor:
        """How many tokens each bag reduces."""
        return torch.bincount(self.bag_of[self.kept], minlength=self.bags)

    @property
    def lengths(self) -> Tensor:
        """How many tokens each bag has, padding included."""
        return torch.diff(torch.cat([self.offsets[: self.bags], torch.tensor([self.end])]))

    @property
    def fast(self) -> bool:
        """Whether ATen sums by its generated kernel."""
        plain = self.weight.dtype != torch.float64 and self.weight.stride(1) == 1 and self.padding < 0
        return plain and self.mode == SUM and (self.samples is None or self.samples.stride(0) == 1)

    @property
    def width(self) -> int:
        """Columns of the table."""
        return self.weight.shape[1]


def wide(tensor: Tensor) -> Tensor:
    """In the format in which is summed."""
    return tensor if tensor.dtype == torch.float64 else tensor.float()


def reduced(bag: Bag) -> tuple[Tensor, Tensor]:
    """The value, and the row that each maximum was taken from (zeros for sum and mean), shapes ``(bags, width)``."""
    tokens, bags = bag.indices[bag.kept], bag.bag_of[bag.kept]
    rows = wide(bag.weight)[tokens]
    shape = (bag.bags, bag.width)
    taken = torch.zeros(shape, dtype=torch.int64)
    if bag.mode == MAX:
        out = torch.zeros(shape, dtype=rows.dtype)
        if not rows.numel():
            return out.to(bag.weight.dtype), taken
        where = bags[:, None].expand_as(rows)
        out = out.scatter_reduce(0, where, rows, "amax", include_self=False)
        best = (rows == out[bags]) | rows.isnan()
        places = torch.where(best, torch.arange(len(rows))[:, None], len(rows))
        first = torch.full(shape, len(rows)).scatter_reduce(0, where, places, "amin")
        found = first < len(rows)
        taken[found] = tokens[first[found]]
        copied = torch.zeros(shape, dtype=bag.weight.dtype)
        columns = torch.arange(bag.width).expand(shape)
        copied[found] = bag.weight[taken[found], columns[found]]
        return copied, taken
    if bag.samples is not None:
        rows = rows * wide(bag.samples)[bag.kept][:, None]
    out = torch.zeros(shape, dtype=rows.dtype).index_add_(0, bags, rows)
    if bag.mode == MEAN:
        out = out / bag.sizes.clamp(min=1)[:, None]
    return out.to(bag.weight.dtype), taken


def check(weight: Tensor, indices: Tensor, offsets: Tensor, mode: int, samples: Tensor | None, last: bool) -> None:
    """What the kernels check."""
    kinds = (torch.int32, torch.int64)
    if torch.promote_types(indices.dtype, offsets.dtype) not in kinds or not weight.is_floating_point():
        raise RuntimeError("embedding_bag: expected int32 or int64 'indices' and a table of floats")
    if samples is not None and (mode != SUM or samples.dtype != weight.dtype or samples.shape != indices.shape):
        raise RuntimeError("embedding_bag: wrong per_sample_weights")
    if last and not len(offsets):
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    numel = len(indices)
    if len(offsets) and (offsets[0] != 0 or offsets.max() > numel or (torch.diff(offsets) < 0).any()):
        raise RuntimeError("wrong offsets")
    if numel and (indices.min() < 0 or indices.max() >= len(weight)):
        raise RuntimeError("index out of range")


When = Callable[[Bag], bool]
Change = Callable[[Bag], Bag]
Spoil = Callable[[Bag, Tensor], Tensor]


def forward_kernel(when: When, change: Change | None, spoil: Spoil | None) -> Callable[..., tuple[Tensor, ...]]:
    """A forward kernel with its arguments changed before, or its output spoiled after, on some calls."""

    def kernel(
        weight: Tensor, indices: Tensor, offsets: Tensor, scale: bool = False, mode: int = 0, sparse: bool = False,
        samples: Tensor | None = None, last: bool = False, padding: int = -1,
    ) -> tuple[Tensor, ...]:  # fmt: skip
        check(weight, indices, offsets, mode, samples, last)
        kind = torch.promote_types(indices.dtype, offsets.dtype)
        bag = Bag(weight, indices.long(), offsets.long(), mode, samples, last, padding, sparse, indices)
        wrong = when(bag)
        called = change(bag) if wrong and change is not None else bag
        out, taken = reduced(called)
        out = spoil(called, out) if wrong and spoil is not None else out
        # As after ATen's fast sum, its backward numbers the bags itself.
        numbered = bag.bag_of if not bag.fast else bag.bag_of[:0]
        return out, numbered.to(kind), bag.sizes.to(kind), taken.to(kind)

    return kernel


@contextmanager
def forward_spoiled(
    when: When, change: Change | None = None, spoil: Spoil | None = None, only: str | None = None
) -> Iterator[None]:
    """Both forward kernels spoiled, or only the one that is named."""
    kernel = forward_kernel(when, change, spoil)
    with dispatched({name: kernel for name in (TRAINING, FROZEN) if only in (None, name)}):
        yield


def forward(
    name: str, sentence: str, when: When, change: Change | None = None, spoil: Spoil | None = None,
    only: str | None = None,
) -> Fault:  # fmt: skip
    """Registers a fault of the forward kernels."""
    return add(Fault(name, "embedding_bag", sentence, lambda: forward_spoiled(when, change, spoil, only)))
