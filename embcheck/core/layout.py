"""Where a tensor's elements lie in memory, and what lies around them.

Every tensor that embcheck feeds is a view into a larger buffer that it owns.  The rest of the buffer is *poison*: NaN
for numbers, an index far outside any table for indices.  Reading past the view then shows in the result, writing past it shows
in the buffer.  A layout is how the view's strides are chosen; the kernels behind an embedding take other paths
for each of them.
"""

import math
from functools import lru_cache
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from embcheck.core.format import Array

S = TypeVar("S", bound=np.generic)

#: Elements of poison before and after every view.
GUARD = 8

#: What surrounds indices: far outside any table.
POISONED_INDEX = 0x5A5A5A5A

#: Simplest first.  "column_slice" keeps stride(-1) == 1 though rows are apart, which is not what a transpose does.
#: "swapped" is a batch that was made with two axes before the last in the other order, as sequences first or heads of
#: attention are: its rows stay whole.
LAYOUTS = ("contiguous", "transposed", "column_slice", "row_strided", "strided", "offset", "swapped", "expanded")

#: Rows further apart than 15 and than 16 bits count: for landmarks alone, since what lies between is filled with poison.
FAR = ("far_rows", "farther_rows")

#: Surrounded not by poison but by more of the same, as a slice of a longer row of tokens is: what is read outside looks like
#: what is inside.  For landmarks alone, since poison shows more.
CROWDED = "crowded"

#: Each matrix of a batch is transposed by itself, as `Tensor.mT` makes it; a matrix is "transposed".
MATRICES_TRANSPOSED = "matrices_transposed"

#: What a gradient is fed as: of stride 0 along a row, as behind a sum over columns, or from row to row, as behind
#: a sum over tokens; and a table that does not learn, in cases that are aimed.
SHARED = ("equal_columns", "equal_rows")
UPSTREAM_LAYOUTS = (*LAYOUTS, *SHARED)
#: A gradient of stride 0 from token to token of a sequence, the last axis of tokens, as behind a sum over each sequence.  For
#: landmarks alone.
EQUAL_IN_SEQUENCE = "equal_in_sequence"


class View(NamedTuple):
    """A view into a flat buffer of ``size`` elements; strides and offset count elements."""

    size: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    offset: int

    def inside(self, buffer: Array) -> Array:
        """The viewed elements of a buffer, as a writable numpy view."""
        item = buffer.itemsize
        return np.ndarray(
            self.shape, buffer.dtype, buffer, self.offset * item, tuple(stride * item for stride in self.strides)
        )


def fitting(layout: str, values: npt.NDArray[Any]) -> str:
    """The layout, or ``contiguous`` if a tensor that lies so can't hold these values, of which some must be the same, bit for
    bit."""
    if not values.size or not values.ndim or layout not in ("expanded", *SHARED):
        return layout
    row = values.reshape(-1, values.shape[-1])[0]
    first = values[..., :1] if layout == "equal_columns" else row if layout == "equal_rows" else row[:1]
    return layout if np.broadcast_to(first, values.shape).tobytes() == values.tobytes() else "contiguous"


@lru_cache(maxsize=4096)
def row_major(shape: tuple[int, ...], unit: int = 1, pitch: int = 0) -> tuple[int, ...]:
    """Strides of a row-major array whose last axis steps by ``unit`` and has ``pitch`` elements to spare."""
    strides, step = [], unit
    for length in reversed(shape):
        strides.append(step)
        step = step * max(length, 1) + (pitch if len(strides) == 1 else 0)
    return tuple(reversed(strides))


def preserved_strides(strides: tuple[int, ...], shape: tuple[int, ...]) -> tuple[int, ...]:
    """The strides of a copy that preserves the format: dense, with the axes in the order of the original's strides.

    The documentation of torch.preserve_format promises that for dense tensors only and row-major strides for others;
    torch keeps the order of the axes for those, too.
    """
    result, step = [1] * len(shape), 1
    for axis in sorted(range(len(shape)), key=lambda axis: (strides[axis], -axis)):
        result[axis] = step
        step *= max(shape[axis], 1)
    return tuple(result)


def shared(values: npt.NDArray[S], layout: str, tokens: tuple[int, ...] = ()) -> npt.NDArray[S]:
    """The values, or their storage, that a tensor of that layout can hold, from rows of any: shape ``(…, D)``; those of tokens
    of a shape lie one after the other."""
    if layout == EQUAL_IN_SEQUENCE:
        rows = values.reshape(*tokens, values.shape[-1])
        return np.broadcast_to(rows[..., :1, :], rows.shape).reshape(values.shape)
    if not values.size or layout not in SHARED:
        return values
    first = values[..., :1] if layout == "equal_columns" else values[:1]
    return np.broadcast_to(first, values.shape).copy()


@lru_cache(maxsize=4096)
def view_of(shape: tuple[int, ...], layout: str) -> View:
    """The view that ``layout`` names for ``shape``.

    Raises:
        KeyError: for a name that is neither in `UPSTREAM_LAYOUTS` nor in `FAR`, nor `CROWDED`, `MATRICES_TRANSPOSED` or
            `EQUAL_IN_SEQUENCE`.
    """
    offset = GUARD
    match layout:
        case "contiguous":
            strides = row_major(shape)
        case "transposed":
            strides = tuple(reversed(row_major(tuple(reversed(shape)))))
        case "matrices_transposed":
            *batch, one, other = row_major((*shape[:-2], *reversed(shape[-2:])) if len(shape) > 1 else (1, *shape))
            strides = (*batch, other, one)[-len(shape) :]
        case "column_slice":
            strides, offset = row_major(shape, pitch=3), GUARD + 1
        case "row_strided":
            strides = tuple(stride * (2 if axis == 0 else 1) for axis, stride in enumerate(row_major(shape)))
        case "strided":
            strides = row_major(shape, unit=2)
        case "offset" | "crowded":
            strides, offset = row_major(shape), GUARD + 3
        case "swapped":
            first = max(len(shape) - 3, 0)
            order = [*range(first), *reversed(range(first, min(first + 2, len(shape)))), *range(first + 2, len(shape))]
            inner = row_major(tuple(shape[axis] for axis in order), pitch=3 if len(shape) == 2 else 0)
            strides = tuple(inner[axis] for axis in order)
        case "expanded":
            strides = (0,) * len(shape)
        case "equal_columns":
            strides = (*row_major(shape[:-1]), 0)[: len(shape)]
        case "equal_rows":
            strides = (*(0,) * len(shape[:-1]), 1)[: len(shape)]
        case "equal_in_sequence":
            *outer, width = row_major((*shape[:-2], shape[-1]))
            strides = (*outer, 0, width)
        case "far_rows" | "farther_rows":
            strides = row_major(shape, pitch=1 << (15 if layout == "far_rows" else 16))
        case _:
            others = (CROWDED, MATRICES_TRANSPOSED, EQUAL_IN_SEQUENCE)
            raise KeyError(f"no layout {layout!r}; there are {', '.join((*UPSTREAM_LAYOUTS, *FAR, *others))}")
    reach = sum((length - 1) * stride for length, stride in zip(shape, strides, strict=True)) if math.prod(shape) else 0
    return View(offset + reach + 1 + GUARD, shape, strides, offset)


def crowd(elements: Array, view: View) -> Array:
    """A buffer around a view of these elements, one after the other, in which they go on on both sides."""
    flat = elements.reshape(-1)
    around: Array = flat[(np.arange(view.size) - view.offset) % flat.size]
    return around


def poison(dtype: npt.DTypeLike, *, bfloat16: bool = False) -> npt.NDArray[np.generic]:
    """One poisoned element: NaN for a float, an index far outside any table for an integer."""
    kind = np.dtype(dtype)
    if bfloat16:
        return np.array(0x7FC1, np.int16)
    if kind.kind in "fc":
        return np.array(np.nan, kind)
    return np.array(POISONED_INDEX & ((1 << min(31, 8 * kind.itemsize - 1)) - 1), kind)
