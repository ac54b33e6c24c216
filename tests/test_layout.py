"""Every layout of every small shape: elements apart from each other, inside the buffer, poison around them."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from embcheck.core.layout import FAR, GUARD, LAYOUTS, View, poison, view_of

SHAPES = [shape for rank in range(5) for shape in itertools.product(range(4), repeat=rank)]
every_layout = pytest.mark.parametrize("layout", LAYOUTS)


def addresses(view: View) -> list[int]:
    """Where each element lies, row-major, from the strides alone."""
    places = itertools.product(*(range(length) for length in view.shape))
    return [view.offset + sum(k * stride for k, stride in zip(place, view.strides, strict=True)) for place in places]


@every_layout
def test_elements_are_apart_and_inside(layout: str) -> None:
    for shape in SHAPES:
        view = view_of(shape, layout)
        found = addresses(view)
        assert view.shape == shape
        assert len(view.strides) == len(shape)
        assert len(found) == math.prod(shape)
        assert len(set(found)) == (min(1, len(found)) if layout == "expanded" else len(found)), shape
        assert all(GUARD <= address < view.size - GUARD for address in found), shape


@every_layout
def test_poison_around_stays(layout: str) -> None:
    for shape in SHAPES:
        view = view_of(shape, layout)
        buffer = np.full(view.size, np.nan, np.float32)
        view.inside(buffer)[...] = 1
        assert np.isnan(buffer[:GUARD]).all()
        assert np.isnan(buffer[-GUARD:]).all()
        written = int((buffer == 1).sum())
        assert written == len(set(addresses(view))), shape


@every_layout
@pytest.mark.parametrize("dtype", ["float64", "int16", "int32"])
def test_numpy_reads_what_the_strides_say(layout: str, dtype: str) -> None:
    view = view_of((3, 2, 2), layout)
    buffer = np.arange(view.size).astype(dtype)
    assert view.inside(buffer).reshape(-1).tolist() == addresses(view)


def test_far_rows_are_further_apart_than_their_bits_count() -> None:
    for layout, bits in zip(FAR, (15, 16), strict=True):
        view = view_of((3, 2), layout)
        assert view.strides == (2**bits + 2, 1)
        assert max(addresses(view)) < view.size - GUARD


def test_each_layout_is_what_its_name_says() -> None:
    strides = {layout: view_of((4, 3), layout).strides for layout in LAYOUTS}
    assert strides["contiguous"] == strides["offset"] == (3, 1)
    assert strides["transposed"] == (1, 4)
    assert strides["column_slice"][1] == 1, "rows are apart, elements of a row are not"
    assert strides["column_slice"][0] > 3
    assert strides["swapped"] == (1, 7), "the transpose of a column slice"
    assert view_of((2, 4, 3), "swapped").strides == (3, 6, 1), "sequence first, its rows whole"
    assert view_of((2, 4, 3, 5), "swapped").strides == (60, 5, 20, 1), "heads in front of the sequence"
    assert strides["row_strided"] == (6, 1)
    assert strides["strided"] == (6, 2)
    assert strides["expanded"] == (0, 0)
    assert view_of((4, 3), "offset").offset != view_of((4, 3), "contiguous").offset
    with pytest.raises(KeyError, match="contiguous, transposed"):
        view_of((2,), "diagonal")


def test_poison_is_nan_or_far_outside() -> None:
    for dtype in ("float16", "float32", "float64"):
        assert np.isnan(poison(dtype))
        assert poison(dtype).dtype == dtype
    for dtype in ("int32", "int64"):
        assert int(poison(dtype)) > 1 << 30
    pattern = int(poison("int16", bfloat16=True))
    assert np.isnan(np.array([pattern << 16], np.uint32).view(np.float32)[0])
