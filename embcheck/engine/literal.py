"""Tensors as Python source: short where there is a formula, exact always, in the memory that they were fed in."""

import math
import types
from typing import Any

import numpy as np

from embcheck.core.axes import Input
from embcheck.core.format import FORMATS
from embcheck.core.layout import CROWDED, POISONED_INDEX, View, view_of

#: The dtypes whose elements are written as numbers; those of others are written as bytes.
_COUNTED = frozenset({*FORMATS, "int64", "int32"})
#: What torch makes of a NaN and of a whole number that is given no dtype.
_UNNAMED = frozenset({"float32", "int64"})


def input_lines(name: str, given: Input, memory: bool) -> list[str]:
    """The line that builds an input under ``name``, as a view into a larger buffer of poison, as it was fed; with
    ``memory`` the buffer is kept as ``name_memory`` and copied, so that what is written there can be seen."""
    view, dtype, values = view_of(given.stored.shape, given.layout), f"torch.{given.dtype}", _literal(given)
    made = placed(view)
    if given.dtype not in _COUNTED:
        buffer = f"torch.full(({view.size * given.stored.itemsize},), 90, dtype=torch.uint8).view({dtype})"
    elif given.layout == CROWDED and given.stored.size:  # more of the same
        around = f"[(torch.arange({view.size}) - {view.offset}) % {given.stored.size}]"
        buffer = f"{values}.to({dtype}).reshape(-1){around}"
    else:
        poison = "torch.nan" if given.dtype in FORMATS else str(POISONED_INDEX)
        named = "" if given.dtype in _UNNAMED else f", dtype={dtype}"
        buffer = f"torch.full(({view.size},), {poison}{named})"
    if not given.stored.size or given.layout == CROWDED:
        made = f".as_strided({view.shape}, {view.strides}, {view.offset})"
    elif values.startswith("torch.full("):
        made += f".fill_({number(_decoded(given).flat[0])})"
    else:
        first = ", ".join(":" if stride else ":1" for stride in view.strides)
        made += f".copy_({values})" if all(view.strides) else f".copy_({values}[{first}])"
    if given.stored.size and not all(view.strides):  # what shares memory is written once
        made += f".expand({view.shape})"
    made += ".requires_grad_()" if given.requires_grad else ""
    if not memory:
        return [f"{name} = {buffer}{made}"]
    return [f"{name}_memory = {buffer}", f"{name} = {name}_memory{made}", f"{name}_before = {name}_memory.clone()"]


def placed(view: View) -> str:
    """The method that gives a buffer's elements that are viewed, each once."""
    shape = tuple(length if stride else 1 for length, stride in zip(view.shape, view.strides, strict=True))
    return f".as_strided({shape}, {view.strides}, {view.offset})"


def _literal(given: Input) -> str:
    """An expression for the elements, as a contiguous tensor that holds them exactly and is cast when it is copied."""
    stored, shape = given.stored, tuple(given.stored.shape)
    dtype = f"torch.{given.dtype}"
    if not stored.size:
        return f"torch.zeros({shape}, dtype={dtype})"
    if given.dtype not in _COUNTED:
        listed = np.ascontiguousarray(stored).reshape(-1).view(np.uint8).tolist()
        return f"torch.tensor({listed}, dtype=torch.uint8).view({dtype}).reshape({shape})"
    fmt, values = FORMATS.get(given.dtype), _decoded(given)
    flat = values.reshape(-1)
    if (flat == flat[0]).all() and stored.size > 1 and not (flat[0] == 0 and np.signbit(flat).any()):
        return f"torch.full({shape}, {number(flat[0])}, dtype={dtype})"
    if fmt is not None and (not np.isfinite(flat).all() or ((flat == 0) & np.signbit(flat)).any()):
        bits = fmt.to_bits(stored)
        return f"torch.tensor({bits.tolist()}, dtype=torch.{fmt.bits}).view({dtype})"
    short = _formula(flat) if stored.size > 24 else None
    if short is not None:
        return f"({short}).reshape({shape})"
    whole = fmt is None or (flat == np.rint(flat)).all()
    if whole and np.abs(flat).max() < 2**53:
        return f"torch.tensor({values.astype(np.int64).tolist()})"
    return f"torch.tensor({values.tolist()}, dtype={dtype})"


def _decoded(given: Input) -> Any:
    """The elements as numbers."""
    fmt = FORMATS.get(given.dtype)
    return given.stored if fmt is None else fmt.decode(given.stored)


def _formula(flat: Any) -> str | None:
    """A short expression for a long sequence: a repeated run of integers, or counting with alternating sign."""
    n = len(flat)
    counting = np.arange(1, n + 1) * np.where(np.arange(n) % 2, -1, 1)
    if np.array_equal(flat, counting):
        return f"torch.arange(1, {n + 1}, dtype=torch.float64) * (1 - 2 * (torch.arange({n}) % 2))"
    for period in range(1, min(n // 2, 64) + 1):
        if np.array_equal(flat, np.resize(flat[:period], n)):
            head = [number(x) for x in flat[:period]]
            return f"torch.tensor([{', '.join(head)}], dtype=torch.float64).repeat({-(-n // period)})[:{n}]"
    return None


def number(value: Any) -> str:
    """A number as a Python expression, NaN and infinities included."""
    number = value.item() if hasattr(value, "item") else value
    if isinstance(number, float) and math.isnan(number):
        return 'float("nan")'
    if isinstance(number, float) and math.isinf(number):
        return f'float("{number}")'
    whole = isinstance(number, float) and number.is_integer() and abs(number) < 2**53
    return repr(int(number)) if whole else repr(number)


def expression(value: Any) -> str:
    """A value as a Python expression; a function or a class by its name."""
    if isinstance(value, types.FunctionType):
        return value.__name__
    if isinstance(value, type):
        return f"{value.__module__}.{value.__qualname__}"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key!r}: {expression(member)}" for key, member in value.items()) + "}"
    if isinstance(value, (tuple, list)):
        inner = ", ".join(map(expression, value))
        if isinstance(value, list):
            return f"[{inner}]"
        return f"({inner},)" if value else "()"
    if isinstance(value, np.generic):
        return expression(value.item())
    # What torch is given as 8.0 it may refuse as 8.
    return repr(value) if not isinstance(value, float) or math.isfinite(value) else number(value)
