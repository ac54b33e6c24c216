"""Where the elements of a parameter and of its gradient lie in memory, and what a kernel reads that walks both as flat memory."""

import math

import numpy as np
import numpy.typing as npt

from embcheck.core.format import Floats
from embcheck.core.layout import MATRICES_TRANSPOSED, preserved_strides, row_major, view_of

#: What lies between the elements of gradients with gaps, as `programs.room` writes it.
GAP = 5.0
Places = npt.NDArray[np.int64]


def places(shape: tuple[int, ...], strides: tuple[int, ...]) -> Places:
    """How far each element lies from the first one."""
    found: Places = np.tensordot(np.array(strides, np.int64), np.indices(shape), 1)
    return found


def gradient_strides(shape: tuple[int, ...], layout: str, laid: str) -> tuple[int, ...]:
    """The strides of a gradient that is laid out so, of a parameter of that layout."""
    own = view_of(shape, layout).strides
    if laid == "rows" and shape:
        return row_major(shape, pitch=2)
    if laid == "crosswise" and len(shape) > 1:
        return view_of(shape, MATRICES_TRANSPOSED if contiguous(shape, own) else "contiguous").strides
    if laid in ("strided", "expanded"):
        return view_of(shape, "equal_columns" if laid == "expanded" else laid).strides
    return preserved_strides(own, shape)


def contiguous(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return all(length == 1 or one == other for length, one, other in zip(shape, strides, row_major(shape), strict=True))


def lies_flat(shape: tuple[int, ...], strides: tuple[int, ...], gradient: tuple[int, ...]) -> bool:
    """Whether each element lies where flat memory has it, and its gradient in the same place."""
    here, there = places(shape, strides), places(shape, gradient)
    return bool((here == there).all() and (here < math.prod(shape)).all())


def in_place(shape: tuple[int, ...], layout: str, laid: str) -> bool:
    """The same of a parameter of that layout whose gradient is laid out so."""
    return lies_flat(shape, view_of(shape, layout).strides, gradient_strides(shape, layout, laid))


def strides_differ(shape: tuple[int, ...], layout: str, laid: str) -> bool:
    """Whether a gradient has other strides than its parameter, of axes of length one, too."""
    return gradient_strides(shape, layout, laid) != view_of(shape, layout).strides


def read_flat(
    shape: tuple[int, ...], layout: str, laid: str, gradients: Floats
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """The gradients that lie in the places of the elements, shape ``(steps, …)``, and which elements lie within as many
    places as there are elements, beyond which nothing is read or written."""
    count = math.prod(shape)
    here, there = places(shape, view_of(shape, layout).strides), places(shape, gradient_strides(shape, layout, laid))
    memory = np.full((len(gradients), count), GAP)
    memory[:, there[there < count]] = gradients[:, there < count]
    return memory[:, np.minimum(here, count - 1)], here < count
