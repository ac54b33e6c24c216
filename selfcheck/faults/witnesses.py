"""Witnesses that compare a call with a loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.kernels import Tensor


def indices_of(tokens: Sequence[int], shape: Sequence[int] | None, dtype: torch.dtype) -> Tensor:
    """Token values as a tensor of indices."""
    flat = torch.tensor(list(tokens), dtype=dtype)
    return flat if shape is None else flat.reshape(tuple(shape))


def numbered(rows: int, width: int, dtype: torch.dtype) -> Tensor:
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
        weight = numbered(rows, width, dtype)
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
        weight = numbered(rows, width, dtype).requires_grad_()
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


def zero_behind(tensor: Tensor) -> Tensor:
    """Zeroes the element behind a tensor, if its memory has one, and returns the tensor."""
    end = tensor.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() and tensor.untyped_storage().nbytes() // tensor.element_size() > end:
        tensor.as_strided((1,), (1,), end).zero_()
    return tensor


def unlike(probe: Callable[[], Any]) -> Witness:
    """A witness: whether a probe gives anything else than at registration, metadata included."""
    right = seen(probe)
    return lambda: seen(probe) != right


def seen(probe: Callable[[], Any]) -> str:
    """What a probe gives or raises, in words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            return repr(described(probe()))
        except Exception as error:
            return type(error).__name__


def described(found: Any) -> Any:
    """Tensors by their metadata and numbers, and the members of tuples, lists and dicts."""
    if isinstance(found, torch.Tensor):
        strides = found.stride() if found.layout == torch.strided else found.is_coalesced()
        elements = found.detach().to_dense().tolist() if found.device.type == "cpu" else []
        kind = type(found), found.dtype, found.shape, found.layout, str(found.device)
        return *kind, strides, found.requires_grad, found.is_leaf, elements
    if isinstance(found, (tuple, list)):
        return [described(part) for part in found]
    if isinstance(found, dict):
        return {name: described(part) for name, part in found.items()}
    return found
