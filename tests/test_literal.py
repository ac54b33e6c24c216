"""A tensor as source is the tensor that was fed: bits, strides, and the poison around it."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from embcheck.core.axes import Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS
from embcheck.core.layout import LAYOUTS
from embcheck.engine.execute import feed
from embcheck.engine.literal import input_lines, number

INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


def built(given: Input, memory: bool) -> dict[str, Any]:
    """What the lines define."""
    defined: dict[str, Any] = {"torch": torch}
    exec("\n".join(input_lines("x", given, memory)), defined)
    return defined


def bits(tensor: torch.Tensor) -> Any:
    return tensor.detach().contiguous().view(INTEGERS[tensor.element_size()]).tolist()


def agrees(given: Input) -> None:
    expected = feed(given)
    for memory in (False, True):
        found = built(given, memory)
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
