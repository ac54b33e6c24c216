"""The peer: lookup, gradient and padding as a plain Hypothesis suite, one drawn array for each tensor.

It is what a competent newcomer writes: `hypothesis.extra.numpy` draws the table, the indices and the upstream
gradient, and each property compares with a few lines of numpy.  Nothing here knows embcheck.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

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


class Lookup(NamedTuple):
    """A table, indices into it, an upstream gradient, and the flags scale_grad_by_freq and sparse."""

    weight: Array
    indices: Array
    upstream: Array
    scaled: bool
    sparse: bool


@st.composite
def lookups(draw: Draw) -> Lookup:
    rows, width = draw(st.integers(1, ROWS)), draw(st.integers(1, WIDTH))
    shape = draw(hnp.array_shapes())
    weight = draw(hnp.arrays(np.float32, (rows, width), elements=NUMBERS))
    indices = draw(hnp.arrays(np.int64, shape, elements=st.integers(0, rows - 1)))
    upstream = draw(hnp.arrays(np.float32, (*shape, width), elements=NUMBERS))
    scaled = draw(st.booleans())
    return Lookup(weight, indices, upstream, scaled, not scaled and draw(st.booleans()))


def weight_gradient(drawn: Lookup, padding: int | None = None) -> Array:
    weight, indices, upstream, scaled, sparse = drawn
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


def expected_gradient(drawn: Lookup) -> Array:
    """dW as numpy computes it."""
    weight, indices, upstream, scaled, _ = drawn
    expected = np.zeros_like(weight)
    np.add.at(expected, indices, upstream)
    if scaled:
        expected /= np.maximum(np.bincount(indices.reshape(-1), minlength=len(weight)), 1)[:, None]
    return expected


def check_lookup(drawn: Lookup) -> None:
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


def check_gradient(drawn: Lookup) -> None:
    """dW = one_hot(i)ᵀ dY."""
    grad = weight_gradient(drawn)
    assert grad.shape == drawn.weight.shape
    assert grad.dtype == drawn.weight.dtype
    np.testing.assert_allclose(grad, expected_gradient(drawn), rtol=RTOL, atol=ATOL)


def check_padding(drawn: Lookup, data: st.DataObject) -> None:
    """The padding row gets no gradient, and the others get theirs."""
    padding = data.draw(st.integers(0, len(drawn.weight) - 1))
    grad, expected = weight_gradient(drawn, padding), expected_gradient(drawn)
    assert not grad[padding].any()
    expected[padding] = 0
    np.testing.assert_allclose(grad, expected, rtol=RTOL, atol=ATOL)


def run(examples: int) -> int:
    """Runs the three properties with ``examples`` each; returns how many cases were checked."""
    checked = 0

    def run_one(check: Callable[..., None], **more: st.SearchStrategy[Any]) -> None:
        @hypothesis.settings(max_examples=examples, database=None, deadline=None)
        @hypothesis.given(drawn=lookups(), **more)
        def test(**drawn: Any) -> None:
            nonlocal checked
            checked += 1
            check(**drawn)

        test()

    run_one(check_lookup)
    run_one(check_gradient)
    run_one(check_padding, data=st.data())
    return checked
