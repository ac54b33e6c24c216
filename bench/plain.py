"""The peer: lookup, gradient and padding as a plain Hypothesis suite, one drawn array for each tensor.

It is what a competent newcomer writes: `hypothesis.extra.numpy` draws the table, the indices and the upstream
gradient, and each property compares with a few lines of numpy.  Nothing here knows embcheck.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import torch
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

Array = npt.NDArray[Any]
Draw = Callable[[st.SearchStrategy[Any]], Any]

#: The largest table that is drawn, and the most tokens that `array_shapes` gives by itself.
ROWS, WIDTH, TOKENS = 20, 16, 216
NUMBERS = st.floats(-1000, 1000, width=32)
#: What newcomers allow float32 sums of such numbers.
RTOL, ATOL = 1e-4, 1e-2


@st.composite
def lookups(draw: Draw) -> tuple[Array, Array, Array, bool, bool]:
    """A table, indices into it, an upstream gradient, and the flags scale_grad_by_freq and sparse."""
    rows, width = draw(st.integers(1, ROWS)), draw(st.integers(1, WIDTH))
    shape = draw(hnp.array_shapes())
    weight = draw(hnp.arrays(np.float32, (rows, width), elements=NUMBERS))
    indices = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, rows - 1)))
    upstream = draw(hnp.arrays(np.float32, (*shape, width), elements=NUMBERS))
    scaled = draw(st.booleans())
    return weight, indices, upstream, scaled, not scaled and draw(st.booleans())


def weight_gradient(
    weight: Array, indices: Array, upstream: Array, scaled: bool, sparse: bool, padding: int | None = None
) -> Array:
    table = torch.from_numpy(weight.copy()).requires_grad_()
    value = torch.nn.functional.embedding(
        torch.from_numpy(indices.copy()), table, padding_idx=padding, scale_grad_by_freq=scaled, sparse=sparse
    )
    torch.autograd.backward(value, torch.from_numpy(upstream.copy()))
    grad = table.grad
    assert grad is not None
    assert grad.is_sparse == sparse
    found: Array = grad.to_dense().numpy()
    return found


def expected_gradient(weight: Array, indices: Array, upstream: Array, scaled: bool) -> Array:
    """dW as numpy computes it."""
    expected = np.zeros_like(weight)
    np.add.at(expected, indices, upstream)
    if scaled:
        expected /= np.maximum(np.bincount(indices.reshape(-1), minlength=len(weight)), 1)[:, None]
    return expected


def check_lookup(drawn: tuple[Array, Array, Array, bool, bool]) -> None:
    """embedding(i) = W[i]."""
    weight, indices, _, scaled, sparse = drawn
    kept_weight, kept_indices = weight.copy(), indices.copy()
    value = torch.nn.functional.embedding(
        torch.from_numpy(indices), torch.from_numpy(weight), scale_grad_by_freq=scaled, sparse=sparse
    )
    assert value.dtype == torch.float32
    assert value.shape == (*indices.shape, weight.shape[1])
    assert np.array_equal(value.numpy(), weight[indices])
    assert np.array_equal(weight, kept_weight)
    assert np.array_equal(indices, kept_indices)


def check_gradient(drawn: tuple[Array, Array, Array, bool, bool]) -> None:
    """dW = one_hot(i)ᵀ dY."""
    weight, indices, upstream, scaled, _ = drawn
    grad = weight_gradient(*drawn)
    assert grad.shape == weight.shape
    assert grad.dtype == weight.dtype
    np.testing.assert_allclose(grad, expected_gradient(weight, indices, upstream, scaled), rtol=RTOL, atol=ATOL)


def check_padding(drawn: tuple[Array, Array, Array, bool, bool], data: st.DataObject) -> None:
    """The padding row gets no gradient, and the others get theirs."""
    weight, indices, upstream, scaled, _ = drawn
    padding = data.draw(st.integers(0, len(weight) - 1))
    grad = weight_gradient(*drawn, padding=padding)
    expected = expected_gradient(weight, indices, upstream, scaled)
    assert not grad[padding].any()
    expected[padding] = 0
    np.testing.assert_allclose(grad, expected, rtol=RTOL, atol=ATOL)


def run(examples: int) -> int:
    """Runs the three properties with ``examples`` each; returns how many cases were checked."""
    checked = 0
    settings = hypothesis.settings(max_examples=examples, database=None, deadline=None)

    @settings
    @hypothesis.given(lookups())
    def test_lookup(drawn: tuple[Array, Array, Array, bool, bool]) -> None:
        nonlocal checked
        checked += 1
        check_lookup(drawn)

    @settings
    @hypothesis.given(lookups())
    def test_gradient(drawn: tuple[Array, Array, Array, bool, bool]) -> None:
        nonlocal checked
        checked += 1
        check_gradient(drawn)

    @settings
    @hypothesis.given(lookups(), st.data())
    def test_padding(drawn: tuple[Array, Array, Array, bool, bool], data: st.DataObject) -> None:
        nonlocal checked
        checked += 1
        check_padding(drawn, data)

    for test in (test_lookup, test_gradient, test_padding):
        test()
    return checked
