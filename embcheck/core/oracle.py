"""What the definitions say, in numpy: integers and float64, never the operator under test.

Each function gives the expected values and, where rounding can enter, the bound: 0 says "exactly".
"""

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import bound
from embcheck.core.case import LookupCase
from embcheck.core.format import Floats, Format
from embcheck.core.weight_map import MATHEMATICS

Expected = tuple[Floats, Floats]


def lookup(case: LookupCase) -> Floats:
    """embedding(i) = W[i]: shape ``(*indices.shape, embedding_dim)``."""
    return case.weight_values[case.tokens].reshape(*case.shape, case.embedding_dim)


def lookup_bits(case: LookupCase) -> npt.NDArray[Any]:
    """The bit patterns of W[i]."""
    bits = case.format.to_bits(case.weight_stored)
    return bits[case.tokens].reshape(*case.shape, case.embedding_dim)


def declared_lookup(case: LookupCase) -> Expected:
    value, limit = MATHEMATICS[case.entry].table(case.weight_values, case.format)
    shape = (*case.shape, case.embedding_dim)
    return value[case.tokens].reshape(shape), limit[case.tokens].reshape(shape)


def one_hot(case: LookupCase) -> npt.NDArray[np.int64]:
    """one_hot(i): 1 at i, 0 elsewhere, shape ``(*indices.shape, num_embeddings)``."""
    rows = np.arange(case.num_embeddings)
    hot = np.equal(case.tokens[:, None], rows).astype(np.int64)
    return hot.reshape(*case.shape, case.num_embeddings)


def accumulate(tokens: npt.NDArray[np.int64], rows: int, upstream: Floats) -> Floats:
    """Σ over the tokens n of one_hot(i_n)ᵀ g_n: shape ``(rows, width)``, summed in float64."""
    width = upstream.shape[1]
    places = tokens[:, None] * width + np.arange(width)
    sums = np.bincount(places.reshape(-1), upstream.reshape(-1), rows * width)
    return sums.reshape(rows, width).astype(np.float64, copy=False)  # of nothing it makes integers


def divisor(case: LookupCase) -> Floats:
    """What each row's gradient is divided by: its count with scale_grad_by_freq, else 1.  Shape ``(rows, 1)``."""
    if not case.scale_grad_by_freq:
        return np.ones((case.num_embeddings, 1))
    return np.maximum(case.counts, 1).astype(np.float64)[:, None]


@lru_cache(maxsize=1)  # the laws of a family ask one after the other
def weight_gradient(case: LookupCase, times: int = 1) -> Expected:
    """dW = one_hot(i)ᵀ dY without the padding tokens, divided by the counts if asked, ``times`` over.

    Exact when the products and sums are integers within the budget and every divisor is a power of two; else
    σ_{c+2}·Σ|g|/c for c tokens, which holds for any order of summation.  An entry with declared mathematics has the
    pullback of that, with its own roundings.
    """
    tokens, upstream = case.tokens[case.counted], case.upstream_values[case.counted]
    value = times * accumulate(tokens, case.num_embeddings, upstream)
    declared = MATHEMATICS.get(case.entry)
    if case.upstream != "real" and not case.scale_grad_by_freq and declared is None:
        return value, np.zeros(value.shape)
    by = divisor(case)
    value /= by
    count = (case.counts[:, None] * times).astype(np.float64)
    power_of_two = (case.counts & (case.counts - 1) == 0)[:, None]
    if declared is None and case.upstream != "real" and power_of_two.all():
        return value, np.zeros(value.shape)
    magnitude = times * accumulate(tokens, case.num_embeddings, np.abs(upstream)) / by
    if declared is not None:
        return declared.gradient(case.weight_values, value, magnitude, count, case.format)
    if case.scale_grad_by_freq:
        u = case.format.unit_roundoff + 2.0**-53
        limit = bound.scaled_sum(count + 2, u) * magnitude + count * case.format.smallest_subnormal
        exact = power_of_two & (case.upstream != "real") | np.isnan(magnitude)
        return value, np.where(exact, 0.0, limit)
    return value, bound.summation(count, magnitude, case.format)


def vacuous(limit: Floats, magnitude: Floats) -> bool:
    """Whether a bound reaches the magnitude of what it bounds, or is NaN, and so checks nothing."""
    return bool((np.isnan(limit) | (limit >= magnitude)).all() and magnitude.any())


def product(a: Floats, b: Floats, fmt: Format) -> Expected:
    """a @ b with its bound n·u·(|a| @ |b|); exact, bound 0, when the magnitudes are integers within 2^p."""
    value, magnitude = a @ b, np.abs(a) @ np.abs(b)
    whole = bool((a == np.rint(a)).all() and (b == np.rint(b)).all())
    if whole and (magnitude.size == 0 or magnitude.max() <= fmt.largest_integer):
        return value, np.zeros_like(value)
    inner = a.shape[-1]
    return value, (inner + 1) * (fmt.unit_roundoff + 2.0**-53) * magnitude + inner * fmt.smallest_subnormal
