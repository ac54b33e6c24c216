"""Tensors as Python source: short where there is a formula, exact always, in the memory that they were fed in."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from embcheck.axes import Input
from embcheck.format import FORMATS
from embcheck.layout import CROWDED, POISONED_INDEX, view_of

#: The dtypes whose elements are written as numbers; those of others are written as bytes.
_COUNTED = frozenset({*FORMATS, "int64", "int32"})


def input_lines(name: str, given: Input, memory: bool) -> list[str]:
    """The lines that build an input under ``name``; with ``memory`` the buffer around it is kept and copied, so that
    what is written there can be seen."""
    dtype = f"torch.{given.dtype}"
    values = _literal(given)
    grad = [f"{name}.requires_grad_()"] if given.requires_grad else []
    if given.layout == "contiguous" and not memory:
        return [f"{name} = {values}", *grad]
    view = view_of(given.stored.shape, given.layout)
    itemsize = given.stored.itemsize
    poison = 'float("nan")' if given.dtype in FORMATS else str(POISONED_INDEX)
    where = f"as_strided({view.shape}, {view.strides}, {view.offset})"
    fill = f"{name}.copy_({values})"
    if not given.stored.size:
        fill = f"{name}  # empty"
    elif not all(view.strides):  # torch refuses to write to elements that share memory
        first = ", ".join(":" if stride else ":1" for stride in view.strides)
        fill = f"{name}[{first}].copy_({values}[{first}])"
    made = [
        f"{name}_memory = torch.full(({view.size},), {poison}, dtype={dtype})  # poison around the tensor",
        f"{name} = {name}_memory.{where}",
    ]
    if given.dtype not in _COUNTED:  # in bytes, as which every dtype can be compared
        made[0] = f"{name}_memory = torch.full(({view.size * itemsize},), 90, dtype=torch.uint8)"
        made[1] = f"{name} = {name}_memory.view({dtype}).{where}"
    if given.layout == CROWDED and given.stored.size:
        around = f"[(torch.arange({view.size}) - {view.offset}) % {given.stored.size}]"
        made[0] = f"{name}_memory = {values}.reshape(-1){around}  # more of the same around the tensor"
        made[1], fill = f"{name} = {name}_memory.{where}", ""
    return [
        *made,
        *([fill] if fill else []),
        *([f"{name}_before = {name}_memory.clone()"] if memory else []),
        *grad,
    ]


def _literal(given: Input) -> str:
    """An expression for the elements, as a contiguous tensor."""
    stored, shape = given.stored, tuple(given.stored.shape)
    dtype = f"torch.{given.dtype}"
    if not stored.size:
        return f"torch.zeros({shape}, dtype={dtype})"
    if given.dtype not in _COUNTED:
        listed = np.ascontiguousarray(stored).reshape(-1).view(np.uint8).tolist()
        return f"torch.tensor({listed}, dtype=torch.uint8).view({dtype}).reshape({shape})"
    fmt = FORMATS.get(given.dtype)
    values = stored if fmt is None else fmt.decode(stored)
    flat = values.reshape(-1)
    if (flat == flat[0]).all() and stored.size > 1 and not (flat[0] == 0 and np.signbit(flat).any()):
        return f"torch.full({shape}, {number(flat[0])}, dtype={dtype})"
    if fmt is not None and (not np.isfinite(flat).all() or ((flat == 0) & np.signbit(flat)).any()):
        bits = fmt.to_bits(stored)
        return f"torch.tensor({bits.tolist()}, dtype=torch.{fmt.bits}).view({dtype})"
    short = _formula(flat) if stored.size > 24 else None
    if short is not None:
        return f"({short}).to({dtype}).reshape({shape})"
    whole = fmt is None or (flat == np.rint(flat)).all()
    listed = values.astype(np.int64).tolist() if whole and np.abs(flat).max() < 2**53 else values.tolist()
    return f"torch.tensor({listed}, dtype={dtype})"


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
