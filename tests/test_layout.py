"""Every layout of every small shape, poison around the elements; a tensor as source is the tensor that was fed."""

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from embcheck.core.axes import Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS
from embcheck.core.layout import FAR, GUARD, LAYOUTS, View, fitting, poison, view_of
from embcheck.engine.execute import feed
from embcheck.engine.literal import input_lines, number

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
@pytest.mark.parametrize("dtype", ["float64", "float32", "int16", "int32"])
def test_numpy_reads_and_writes_what_the_strides_say(layout: str, dtype: str) -> None:
    for shape in SHAPES:
        view = view_of(shape, layout)
        buffer = np.arange(view.size).astype(dtype)
        inside = view.inside(buffer)
        assert inside.reshape(-1).tolist() == addresses(view), shape
        inside[...] = -1
        assert np.flatnonzero(buffer == -1).tolist() == sorted({*addresses(view)}), "what lies around stays"


def test_each_layout_is_what_its_name_says() -> None:
    for layout, bits in zip(FAR, (15, 16), strict=True):
        view = view_of((3, 2), layout)
        assert view.strides == (2**bits + 2, 1)
        assert max(addresses(view)) < view.size - GUARD
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


def test_what_cannot_hold_the_values_lies_contiguous() -> None:
    row, zeros = np.array([1.0, np.nan]), np.array([0.0, -0.0])
    rows, columns = np.tile(row, (3, 1)), np.repeat(row, 3).reshape(2, 3)
    for layout, values in (("expanded", np.full((2, 3), np.nan)), ("equal_rows", rows), ("equal_columns", columns)):
        assert fitting(layout, values) == layout
        assert fitting(layout, np.arange(values.size).reshape(values.shape)) == "contiguous"
        assert fitting(layout, np.array([zeros, zeros[::-1]])) == "contiguous"  # they are equal, but not bit for bit
        assert fitting(layout, values[:0]) == layout
    assert fitting("expanded", np.array(5)) == "expanded"
    assert fitting("strided", zeros) == "strided"


def test_poison_is_nan_or_far_outside() -> None:
    for dtype in ("float16", "float32", "float64"):
        assert np.isnan(poison(dtype))
        assert poison(dtype).dtype == dtype
    for dtype in ("int32", "int64"):
        assert int(poison(dtype)) > 1 << 30
    pattern = int(poison("int16", bfloat16=True))
    assert np.isnan(np.array([pattern << 16], np.uint32).view(np.float32)[0])


# -- a tensor as source -----------------------------------------------------------------------------------------------

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def bits(tensor: torch.Tensor) -> Any:
    return tensor.detach().contiguous().view(INTEGERS[tensor.element_size()]).tolist()


def agrees(given: Input) -> None:
    expected = feed(given)
    for memory in (False, True):
        found: dict[str, Any] = {"torch": torch}
        exec("\n".join(input_lines("x", given, memory)), found)
        tensor = found["x"]
        assert tensor.dtype == expected.tensor.dtype
        assert bits(tensor) == bits(expected.tensor)
        assert tensor.requires_grad == given.requires_grad
        assert tensor.is_leaf
        if memory or given.layout != "contiguous":
            assert tensor.stride() == expected.tensor.stride()
            assert tensor.storage_offset() == expected.tensor.storage_offset()
        if memory:
            kept = bits(found["x_before"]), bits(found["x_memory"])
            assert kept[0] == kept[1]
            around = found["x_memory"].clone().as_strided(tensor.shape, tensor.stride(), tensor.storage_offset())
            assert found["x_memory"].numel() == expected.buffer.size
            assert bits(around) == bits(expected.tensor)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_tables_and_gradients(dtype: str, layout: str) -> None:
    regimes, sizes = ("fingerprint", "small", "real", "special"), ((3, 2), (0, 2), (9, 5))
    for values, (rows, width) in itertools.product(regimes, sizes):
        stored = LookupCase(rows, width, dtype=dtype, values=values).weight_stored
        if layout == "expanded":
            stored = np.broadcast_to(stored[:1, :1], stored.shape)
        agrees(Input(stored, dtype, layout))
    for shape in ((), (1,), (2, 3)):
        agrees(Input(FORMATS[dtype].encode(np.ones(shape)), dtype, layout, requires_grad=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", ["int64", "int32"])
def test_indices(dtype: str, layout: str) -> None:
    patterns, shapes = ("cycle", "same", "uniform", "pairs"), ((), (4,), (2, 0), (2, 3), (60,), (5, 13))
    for pattern, shape in itertools.product(patterns, shapes):
        agrees(LookupCase(9, 2, pattern, shape, index_dtype=dtype, index_layout=layout, seed=3).index_input)


@pytest.mark.parametrize("dtype", FORMATS)
def test_repeated_runs_keep_every_digit(dtype: str) -> None:
    fmt = FORMATS[dtype]
    for run in ([1 / 3, 0.1], [1.0, -2.0, 3.0], [0.0, -0.0], [2.0**60, 1.0]):
        agrees(Input(fmt.encode(np.resize(np.array(run), 60)), dtype))


def test_large_integers_keep_every_digit() -> None:
    agrees(Input(np.array([2**62 + 1, -(2**31), 0]), "int64"))
    agrees(Input(FORMATS["float64"].encode([2.0**53 - 1, 2.0**53 + 2, 1e300, 5e-324]), "float64"))


@pytest.mark.parametrize("value", [0.0, -2.0, 0.1, 1e300, float("inf"), -float("inf"), 7, np.float64(0.5), np.int64(3)])
def test_numbers(value: Any) -> None:
    assert eval(number(value)) == value
    assert np.isnan(eval(number(float("nan"))))
