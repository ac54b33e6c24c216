"""Correct kernels written with other operators, for faults to spoil, and witnesses that compare calls with loops.

The kernels behave as ATen's do: planting them unspoiled is a control, which no law may notice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple

import torch

from embcheck.fault import Fault, Witness, add, dispatched, fault

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


def forward(name: str, sentence: str, when: When, spoil: Spoil, witness: Witness, family: str = "lookup") -> Fault:
    """Registers a fault of the forward kernel."""
    return add(Fault(name, family, sentence, lambda: forward_spoiled(when, spoil), witness))


def backward(name: str, sentence: str, when: When, spoil: Spoil, witness: Witness, family: str = "gradient") -> Fault:
    """Registers a fault of the dense backward kernel."""
    return add(Fault(name, family, sentence, lambda: backward_spoiled(when, spoil), witness))


def sparse_backward(
    name: str, sentence: str, when: When, spoil: Spoil, witness: Witness, family: str = "gradient"
) -> Fault:
    """Registers a fault of the sparse backward kernel."""
    plant: Callable[[], AbstractContextManager[None]] = lambda: backward_spoiled(when, spoil, sparse=True)  # noqa: E731
    return add(Fault(name, family, sentence, plant, witness))


# -- witnesses ---------------------------------------------------------------------------------------------------


def indices_of(tokens: Sequence[int], shape: Sequence[int] | None, dtype: torch.dtype) -> Tensor:
    """Token values as a tensor of indices."""
    flat = torch.tensor(list(tokens), dtype=dtype)
    return flat if shape is None else flat.reshape(tuple(shape))


def table(rows: int, width: int, dtype: torch.dtype) -> Tensor:
    """A table of distinct numbers where the format has enough of them."""
    return (1 + torch.arange(rows * width, dtype=torch.float64) % 251).reshape(rows, width).to(dtype)


def value_differs(
    tokens: Sequence[int],
    rows: int,
    width: int = 2,
    *,
    shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    index_dtype: torch.dtype = torch.int64,
    lay: Callable[[Tensor], Tensor] = lambda weight: weight,
    lay_indices: Callable[[Tensor], Tensor] = lambda indices: indices,
    fill: float | None = None,
    calls: int = 1,
    threads: int = 1,
    **flags: Any,
) -> Witness:
    """Whether F.embedding returns other bits than those of the rows, or other metadata than a fresh tensor's."""

    def witness() -> bool:
        weight = table(rows, width, dtype)
        weight = lay(weight if fill is None else torch.full_like(weight, fill))
        indices = lay_indices(indices_of(tokens, shape, index_dtype))
        expected = torch.stack([weight[token] for token in tokens]) if tokens else torch.zeros(0, width, dtype=dtype)
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            for _ in range(calls):
                value = torch.nn.functional.embedding(indices, weight, **flags)
        except Exception:
            return True
        finally:
            torch.set_num_threads(before)
        wanted = expected.reshape(*indices.shape, width)
        same_kind = value.shape == wanted.shape and value.dtype == dtype and value.is_contiguous()
        return not same_kind or bits(value).ne(bits(wanted)).any().item() is True

    return witness


def bits(tensor: Tensor) -> Tensor:
    """The bit patterns of a tensor of numbers."""
    size = {2: torch.int16, 4: torch.int32, 8: torch.int64}
    return tensor.detach().contiguous().view(size[tensor.element_size()])


def accepted(tokens: Sequence[int], rows: int, *, shape: Sequence[int] | None = None, **options: Any) -> Witness:
    """Whether F.embedding accepts indices that it must refuse."""
    index_dtype = options.get("index_dtype", torch.int64)

    def witness() -> bool:
        try:
            torch.nn.functional.embedding(indices_of(tokens, shape, index_dtype), table(rows, 2, torch.float32))
        except (IndexError, RuntimeError):
            return False
        return True

    return witness


def gradient_differs(
    tokens: Sequence[int],
    rows: int,
    width: int = 2,
    *,
    shape: Sequence[int] | None = None,
    dtype: torch.dtype = torch.float32,
    index_dtype: torch.dtype = torch.int64,
    upstream: Callable[[Tensor], Tensor] = lambda upstream: upstream,
    padding_idx: int | None = None,
    tolerance: float = 0.0,
    passes: int = 1,
    threads: int = 1,
    **flags: Any,
) -> Witness:
    """Whether the gradient departs from a loop over the tokens, or has another dtype, shape or layout."""

    def witness() -> bool:
        weight = table(rows, width, dtype).requires_grad_()
        indices = indices_of(tokens, shape, index_dtype)
        counting = 1 + torch.arange(len(tokens) * width, dtype=torch.float64) % 5
        sent = upstream(counting.to(dtype).reshape(*indices.shape, width))
        expected = loop(tokens, rows, sent, padding_idx, flags.get("scale_grad_by_freq", False)) * passes
        before = torch.get_num_threads()
        try:
            torch.set_num_threads(threads)
            for _ in range(passes):
                torch.nn.functional.embedding(indices, weight, padding_idx, **flags).backward(sent)
        except Exception:
            return True
        finally:
            torch.set_num_threads(before)
        found = weight.grad
        if found is None or found.dtype != dtype or found.is_sparse is not flags.get("sparse", False):
            return True
        got = found.detach().to_dense().double()
        alike = (got == expected) | (got.isnan() & expected.isnan())
        return not bool((alike | ((got - expected).abs() <= tolerance * expected.abs())).all())

    return witness


def loop(tokens: Sequence[int], rows: int, sent: Tensor, padding_idx: int | None, scale: bool) -> Tensor:
    """The gradient by a loop over the tokens, in float64."""
    row = None if padding_idx is None else padding_idx % rows
    result = torch.zeros(rows, sent.shape[-1], dtype=torch.float64)
    for token, part in zip(tokens, sent.double().reshape(len(tokens), sent.shape[-1]), strict=True):
        if token != row:
            result[token] += part / (list(tokens).count(token) if scale else 1)
    return result


def zero_behind(tensor: Tensor) -> None:
    """Zeroes the element behind a tensor, if its memory has one."""
    end = tensor.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() and tensor.untyped_storage().nbytes() // tensor.element_size() > end:
        tensor.as_strided((1,), (1,), end).zero_()


# -- controls ----------------------------------------------------------------------------------------------------


@fault("lookup", lambda: False, control=True)
def forward_kernel_replaced() -> Iterator[None]:
    """A forward kernel of our own with nothing wrong in it."""
    with forward_spoiled(never, as_it_is):
        yield


@fault("gradient", lambda: False, control=True)
def dense_backward_kernel_replaced() -> Iterator[None]:
    """A dense backward kernel of our own with nothing wrong in it."""
    with backward_spoiled(never, as_it_is):
        yield


@fault("gradient", lambda: False, control=True)
def sparse_backward_kernel_replaced() -> Iterator[None]:
    """A sparse backward kernel of our own with nothing wrong in it."""
    with backward_spoiled(never, as_it_is, sparse=True):
        yield
