"""Correct kernels written with other operators, for faults to spoil, and how such faults are registered.

The kernels behave as ATen's do: planting them unspoiled is a control, which no law may notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch

from selfcheck.fault import Fault, add, dispatched, fault

Tensor = torch.Tensor


class Call(NamedTuple):
    """The arguments of a kernel; ``given`` is the table in forward and the upstream gradient in backward.

    ``padding_idx`` is -1 without padding, as the dispatcher has it.
    """

    given: Tensor
    indices: Tensor
    rows: int
    padding_idx: int = -1
    scale: bool = False
    sparse: bool = False

    @property
    def width(self) -> int:
        """Columns of the table."""
        return self.given.shape[-1]

    @property
    def numel(self) -> int:
        """Tokens."""
        return self.indices.numel()

    @property
    def rank(self) -> int:
        """Axes of the indices."""
        return self.indices.dim()

    @property
    def tokens(self) -> Tensor:
        """The indices in a row, as int64."""
        return self.indices.reshape(-1).long()

    @property
    def upstream(self) -> Tensor:
        """The upstream gradient, a row for each token."""
        return self.given.reshape(self.numel, self.width)


When = Callable[[Call], bool]
Spoil = Callable[[Call, Tensor], Tensor]


def lookup(call: Call) -> Tensor:
    """W[i] as `aten::embedding` composes it."""
    if call.rank == 1:
        return call.given.index_select(0, call.indices)
    return call.given.index_select(0, call.indices.reshape(-1)).view(*call.indices.shape, call.width)


def dense_gradient(call: Call) -> Tensor:
    """one_hot(i)ᵀ dY without padding, divided by the counts with ``scale``."""
    tokens, upstream = call.tokens, call.upstream
    if call.scale:
        counts = torch.bincount(tokens, minlength=call.rows)
        upstream = upstream / counts[tokens].to(upstream.dtype)[:, None]
    kept = tokens != call.padding_idx
    result = torch.zeros(call.rows, call.width, dtype=upstream.dtype)
    return result.index_add_(0, tokens[kept], upstream[kept])


def sparse_gradient(call: Call) -> Tensor:
    """The same as a sparse tensor with an entry for each token that is not padding."""
    if call.scale:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    tokens, upstream = call.tokens, call.upstream
    if call.padding_idx != -1:
        kept = tokens != call.padding_idx
        tokens, upstream = tokens[kept], upstream[kept]
    return coo(tokens, upstream, call)


def coo(tokens: Tensor, values: Tensor, call: Call, **flags: Any) -> Tensor:
    """A sparse gradient from its entries."""
    shape = (call.rows, call.width)
    return torch.sparse_coo_tensor(tokens[None], values.contiguous(), shape, check_invariants=False, **flags)


def never(call: Call) -> bool:
    """Of a control."""
    return False


def as_it_is(call: Call, out: Tensor) -> Tensor:
    """Of a control."""
    return out


@contextmanager
def forward_spoiled(when: When, spoil: Spoil) -> Iterator[None]:
    """`aten::embedding` with its result spoiled on some calls."""

    def kernel(weight: Tensor, indices: Tensor, padding: int = -1, scale: bool = False, sparse: bool = False) -> Tensor:
        if weight.dim() != 2 or indices.dtype not in (torch.int64, torch.int32):
            raise RuntimeError("embedding: expected a matrix and int64 or int32 indices")
        call = Call(weight, indices, weight.shape[0], padding, scale, sparse)
        return spoil(call, lookup(call)) if when(call) else lookup(call)

    with dispatched({"embedding": kernel}):
        yield


@contextmanager
def backward_spoiled(when: When, spoil: Spoil, *, sparse: bool = False) -> Iterator[None]:
    """`aten::embedding_dense_backward`, or the sparse one, with its result spoiled on some calls."""
    name, right = ("sparse", sparse_gradient) if sparse else ("dense", dense_gradient)

    def kernel(upstream: Tensor, indices: Tensor, rows: int, padding: int, scale: bool) -> Tensor:
        call = Call(upstream, indices, rows, padding, scale, sparse)
        return spoil(call, right(call)) if when(call) else right(call)

    with dispatched({f"embedding_{name}_backward": kernel}):
        yield


def forward(name: str, sentence: str, when: When, spoil: Spoil, family: str = "lookup") -> Fault:
    """Registers a fault of the forward kernel."""
    return add(Fault(name, family, sentence, lambda: forward_spoiled(when, spoil)))


def backward(name: str, sentence: str, when: When, spoil: Spoil, family: str = "gradient") -> Fault:
    """Registers a fault of the dense backward kernel."""
    return add(Fault(name, family, sentence, lambda: backward_spoiled(when, spoil)))


def sparse_backward(name: str, sentence: str, when: When, spoil: Spoil, family: str = "gradient") -> Fault:
    """Registers a fault of the sparse backward kernel."""
    plant: Callable[[], AbstractContextManager[None]] = lambda: backward_spoiled(when, spoil, sparse=True)  # noqa: E731
    return add(Fault(name, family, sentence, plant))


@fault("lookup", control=True)
def forward_kernel_replaced() -> Iterator[None]:
    """A forward kernel of our own with nothing wrong in it."""
    with forward_spoiled(never, as_it_is):
        yield


@fault("gradient", control=True)
def dense_backward_kernel_replaced() -> Iterator[None]:
    """A dense backward kernel of our own with nothing wrong in it."""
    with backward_spoiled(never, as_it_is):
        yield
