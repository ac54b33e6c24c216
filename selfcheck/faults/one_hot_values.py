"""Faults of F.one_hot that show at some ranks, sizes, layouts and dtypes only, and of the operators it is made of."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from selfcheck.fault import dispatched, fault
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.products import one_hot


def plain(tokens: Tensor) -> bool:
    """Whether no transform is at work."""
    return not torch._C._functorch.is_batchedtensor(tokens)


one_hot(
    "one_hot_squeezes", "An axis of length 1 in front is lost.",
    lambda original, t, n: original(t, n).squeeze(0) if t.dim() > 1 and t.shape[0] == 1 and plain(t) else original(t, n),
)  # fmt: skip
one_hot(
    "one_hot_takes_int32", "int32 is accepted.",
    lambda original, t, n: original(t.long() if t.dtype == torch.int32 else t, n),
)  # fmt: skip


def scattered(out: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """scatter_ of a number by other operators."""
    places = torch.arange(out.shape[dim])
    shape = [1] * out.dim()
    shape[dim] = -1
    if index.numel() and (int(index.min()) < 0 or int(index.max()) >= out.shape[dim]):
        raise RuntimeError("index out of bounds for dimension")
    if index.shape[dim] == 1 and out.numel():
        out.masked_fill_(index == places.reshape(shape), value)
    return out


@fault("one_hot", control=True)
def one_hot_by_other_operators() -> Iterator[None]:
    """The scatter that one_hot is made of, by other operators."""
    with dispatched({"scatter_.value": scattered}):
        yield
