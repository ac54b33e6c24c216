"""What a bag's reduction and its gradients are, in float64, and how far rounding may take them."""

from functools import lru_cache

import numpy as np
import numpy.typing as npt

from embcheck.core import bound
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.core.oracle import Expected, accumulate
from embcheck.families.embedding_bag.cases import BagCase

#: Where the bound is infinite nothing is claimed, but that a number comes out; where it is NaN not even that.
NO_CLAIM, NOT_EVEN_A_NUMBER = np.inf, np.nan


def _limit(
    magnitude: Floats,
    roundings: Floats | int,
    fmt: Format,
    exact: npt.NDArray[np.bool_] | bool,
    reach: Floats | None = None,
) -> Floats:
    """σ_n·Σ|terms| where not exact, with a subnormal's spacing for each product that may underflow.

    ``reach`` is how large a partial result may get, where that is more than ``magnitude`` (a sum before its division).
    """
    if exact is not False and np.all(exact):
        return np.zeros(magnitude.shape)
    reach = magnitude if reach is None else reach
    u = fmt.unit_roundoff + 2.0**-53
    with np.errstate(invalid="ignore"):
        loose = bound.scaled_sum(roundings, u) * magnitude + np.asarray(roundings) * fmt.smallest_subnormal
    loose = np.where(np.isfinite(magnitude), loose, 0.0)
    loose = np.where(np.isfinite(reach) & (reach >= 2.0**fmt.emax), NO_CLAIM, loose)  # may overflow
    return np.where(exact, 0.0, loose)


def _overflowing(limit: Floats, rising: Floats, falling: Floats, fmt: Format) -> Floats:
    """The bound of sums of which the positive and the negative terms add up to so much: where both may overflow, infinities of
    both signs may meet, of which NaN comes."""
    return np.where(np.minimum(rising, falling) >= 2.0**fmt.emax, NOT_EVEN_A_NUMBER, limit)


def _whole(*arrays: Floats) -> bool:
    return all(bool(((np.rint(a) == a) | np.isnan(a)).all()) for a in arrays)


@lru_cache(maxsize=1)
def value(case: BagCase) -> Expected:
    """reduce(W[i]) of each bag without its padding tokens; an empty bag is 0."""
    kept, fmt = case.kept, case.format
    bags, tokens = case.bag_of[kept], case.tokens[: case.numel][kept]
    rows = case.table_values[tokens]
    shape = (len(case.lengths), case.embedding_dim)
    if case.mode == "max":
        return _maximum(case, bags, rows, shape)
    samples = case.sample_values[: case.numel][kept][:, None]
    with np.errstate(invalid="ignore"):
        terms = rows * samples
        result = accumulate(bags, shape[0], terms)
        magnitude = accumulate(bags, shape[0], np.abs(terms))
    size = np.maximum(case.sizes, 1)[:, None].astype(np.float64)
    with np.errstate(invalid="ignore"):
        exact: npt.NDArray[np.bool_] = (magnitude <= fmt.largest_integer) & _whole(rows, samples)
    if case.weights is None:
        exact |= size == 1
    reach = magnitude
    if case.mode == "mean":
        exact &= case.sizes[:, None] & (case.sizes[:, None] - 1) == 0
        result, magnitude = result / size, magnitude / size
    if case.values == "vast":
        reach = np.zeros_like(magnitude)  # no mean is too large, and what becomes of the sums is what is asked
    limit = _limit(magnitude, size + 2, fmt, exact, reach)
    if (reach >= 2.0**fmt.emax).any():
        rising, falling = (accumulate(bags, shape[0], np.maximum(sign * terms, 0.0)) for sign in (1, -1))
        limit = _overflowing(limit, rising, falling, fmt)
    return result, limit


def value_in_single(case: BagCase) -> Expected:
    """A sum or mean of rows of half precision, with the bound of a sum that float32 adds and that is rounded once, and of a mean
    that is then divided, or multiplied by a rounded reciprocal."""
    result, _ = value(case)
    kept, fmt, single = case.kept, case.format, FORMATS["float32"]
    u, divisors = fmt.unit_roundoff, np.maximum(case.sizes, 1)[:, None] if case.mode == "mean" else 1
    terms = case.table_values[case.tokens[: case.numel][kept]] * case.sample_values[: case.numel][kept][:, None]
    magnitude = accumulate(case.bag_of[kept], len(case.lengths), np.abs(terms))
    added = _limit(magnitude, case.sizes[:, None].astype(np.float64) + 2, single, False)
    sums = np.abs(result) * divisors
    limit = added + u * (sums + added) + fmt.smallest_subnormal
    limit = np.where(sums + limit >= 2.0**fmt.emax, NO_CLAIM, limit) / divisors
    if case.mode == "mean":
        limit += bound.gamma(2, u) * (np.abs(result) + limit) + fmt.smallest_subnormal
    return result, limit


def _maximum(case: BagCase, bags: npt.NDArray[np.int64], rows: Floats, shape: tuple[int, int]) -> Expected:
    result = np.zeros(shape)
    if bags.size:
        starts = np.flatnonzero(np.r_[True, np.diff(bags) != 0])
        result[bags[starts]] = np.maximum.reduceat(rows, starts, axis=0)
    return result, np.zeros(shape)


def column_sums(case: BagCase, times: int) -> Expected:
    """The sum of the upstream gradients of all bags that are not empty, ``times`` over, by column, shape ``(width,)``.

    Each row's gradient is rounded once for every bag that adds to it, so the bound is that of a sum of all bags.
    """
    sent = times * case.upstream_values[case.sizes > 0]
    magnitude = np.abs(sent).sum(0)
    exact = _whole(sent) and bool((magnitude <= case.format.largest_integer).all())
    return sent.sum(0), _limit(magnitude, times * len(sent) + 1, case.format, exact)


@lru_cache(maxsize=1)
def table_gradient(case: BagCase, times: int = 1) -> Expected:
    """The gradient of the table, ``times`` over, shape ``(num_embeddings, embedding_dim)``."""
    kept, fmt = case.kept, case.format
    bags, tokens = case.bag_of[kept], case.tokens[: case.numel][kept]
    if case.mode == "max":
        return _maximum_gradient(case, bags, tokens, times)
    share = case.sample_values[: case.numel][kept][:, None]
    if case.mode == "mean":
        share = share / np.maximum(case.sizes, 1)[bags][:, None]
    with np.errstate(invalid="ignore"):
        terms = case.upstream_values[bags] * share
        result = times * accumulate(tokens, case.num_embeddings, terms)
        magnitude = times * accumulate(tokens, case.num_embeddings, np.abs(terms))
    counts = np.maximum(case.counts, 1)[:, None]
    finest = 1.0
    exact = _whole(case.upstream_values, case.sample_values)
    if case.mode == "mean":
        exact &= bool((case.sizes & (case.sizes - 1) == 0).all())
        finest *= int(case.sizes.max(initial=1))
    with np.errstate(invalid="ignore"):
        fits = (magnitude * finest <= fmt.largest_integer) & exact
    if case.scale_grad_by_freq:
        result, magnitude = result / counts, magnitude / counts
        fits &= counts & (counts - 1) == 0
    return result, _limit(magnitude, times * counts + 4, fmt, fits)


def _maximum_gradient(
    case: BagCase, bags: npt.NDArray[np.int64], tokens: npt.NDArray[np.int64], times: int
) -> Expected:
    """Each bag's gradient goes to the row of its maximum, column by column; of ties between rows nothing is claimed."""
    shape = (case.num_embeddings, case.embedding_dim)
    result, magnitude, free = np.zeros(shape), np.zeros(shape), np.zeros(shape, np.bool_)
    arrivals = np.zeros(shape)
    if not bags.size:
        return result, np.zeros(shape)
    rows = case.table_values[tokens]
    starts = np.flatnonzero(np.r_[True, np.diff(bags) != 0])
    top = np.maximum.reduceat(rows, starts, axis=0)
    which = np.repeat(np.arange(len(starts)), np.diff(np.r_[starts, len(bags)]))
    best = (rows == top[which]) | np.isnan(top[which])
    # A row that comes twice in a bag is no tie: compare the least and the greatest of the rows that reach the maximum.
    named = tokens[:, None] + np.zeros((1, shape[1]), np.int64)
    least = np.minimum.reduceat(np.where(best, named, case.num_embeddings), starts, axis=0)
    most = np.maximum.reduceat(np.where(best, named, -1), starts, axis=0)
    single = least == most
    sent = times * case.upstream_values[bags[starts]]
    column = np.broadcast_to(np.arange(shape[1]), single.shape)
    np.add.at(result, (least[single], column[single]), sent[single])
    np.add.at(magnitude, (least[single], column[single]), np.abs(sent[single]))
    np.add.at(arrivals, (least[single], column[single]), float(times))
    at, across = np.nonzero(best & ~single[which])
    free[tokens[at], across] = True
    with np.errstate(invalid="ignore"):
        exact = (magnitude <= case.format.largest_integer) & _whole(case.upstream_values) | (arrivals <= 1)
    limit = _limit(magnitude, arrivals + 1, case.format, exact)
    return result, np.where(free, NO_CLAIM, limit)


def sample_gradient(case: BagCase, times: int = 1) -> Expected:
    """The gradient of per_sample_weights: ⟨dY of the bag, W[i]⟩, and 0 for padding and for tokens behind the last bag."""
    total = case.numel + case.trailing
    value, limit = np.zeros(total), np.zeros(total)
    kept = np.flatnonzero(case.kept)
    rows, sent = case.table_values[case.tokens[kept]], case.upstream_values[case.bag_of[kept]]
    with np.errstate(invalid="ignore"):
        terms = times * (rows * sent)
        value[kept], magnitude = terms.sum(1), np.abs(terms).sum(1)
        exact = (magnitude <= case.format.largest_integer) & _whole(rows, sent)
    loose = _limit(magnitude, case.embedding_dim + times, case.format, exact)
    rising, falling = (np.maximum(sign * terms, 0.0).sum(1) for sign in (1, -1))
    limit[kept] = _overflowing(loose, rising, falling, case.format)
    return value, limit
