"""max_norm: the case, the rows that must be rescaled, those that must not, and how far rounding may move them.

The definition: a row that is looked up and whose p-norm n exceeds max_norm m becomes w·m/n; every other row stays as it
is.  ATen divides by n + 1e-7, which the bound grants.
"""

from functools import cached_property, lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.case import LookupCase
from embcheck.core.declaration import is_subject
from embcheck.core.format import FORMATS, Array, Floats, Format

#: Spellings of the plain modes alone: what they hold beside the table no other carries.
PLAIN = frozenset({"bag_weights_learn", "bag_cut_weights_learn", "parametrized"})
#: Spellings with include_last_offset where the table has an odd number of rows.
CUT = frozenset({"bag_sum", "bag_mean", "bag_max", "bag_module", "bag_cut_weights_learn"})
#: What ATen adds to the norm before it divides.
DIVISOR = 1e-7

_ORACLE = 2.0**-50  # float64 evaluation of a norm of up to a thousand elements, pairwise sums


class Renormed(NamedTuple):
    """What becomes of each row: shapes (V, D) and (V,).

    ``kept`` rows must stay bit for bit, ``scaled`` ones lie within ``bound`` of ``value``; a row that is neither may
    do either, since its norm is within rounding of max_norm.  ``judged`` is false for a row with an infinite element.
    """

    value: Floats
    bound: Floats
    kept: npt.NDArray[np.bool_]
    scaled: npt.NDArray[np.bool_]
    judged: npt.NDArray[np.bool_]
    norm: Floats
    tau: Floats


def accumulator(fmt: Format) -> Format:
    """The format in which norms are summed: float32 for the half precisions."""
    return fmt if fmt.name in ("float32", "float64") else FORMATS["float32"]


def p_norm(rows: Floats, p: float) -> Floats:
    """(Σ|x|^p)^(1/p) of each row in float64, without overflow; 0 for rows without elements, and for p = 0 how many elements
    are not zero, as torch.linalg.vector_norm documents it.  Shape ``(V,)``."""
    if not rows.shape[1]:
        return np.zeros(len(rows))
    if np.isinf(p) or p == 0:
        return np.asarray(np.linalg.norm(rows, p, axis=1))
    magnitude = np.abs(rows)
    # In units of the element that decides the norm: the largest, or with a negative p the smallest.
    largest = magnitude.max(1) if p > 0 else magnitude.min(1)
    unit = np.where((largest > 0) & np.isfinite(largest), largest, 1.0)
    with np.errstate(all="ignore"):
        return np.asarray(unit * ((magnitude / unit[:, None]) ** p).sum(1) ** (1 / p))


def norm_error(p: float, width: int, norm: Floats, fmt: Format) -> tuple[Floats, float]:
    """The relative and absolute error of a computed norm, before it is rounded to the table's format.

    p = 0: a count, which is exact.
    p = 1: D−1 additions.  p = 2: D/2+2 (the root halves the sum's error).  Else each |x|^p takes up to 4 roundings,
    the sum D−1, and raising to fl(1/p) divides that by p and adds |ln Σ|·u/p + 4u.  What underflows is smaller than
    the smallest normal number, each.
    """
    acc = accumulator(fmt)
    u = acc.unit_roundoff
    if np.isinf(p) or p == 0:
        return np.zeros_like(norm), 0.0
    if p == 1:
        return np.full_like(norm, max(width - 1, 0) * u), 0.0
    lost = max(width, 1) * 2.0**acc.emin
    if p == 2:
        return np.full_like(norm, (width / 2 + 2) * u), float(lost**0.5)
    with np.errstate(divide="ignore", invalid="ignore"):
        logarithm = np.abs(np.log(np.where(norm > 0, norm, 1.0)))
    rounded = ((width + 4) / abs(p) + logarithm + 4) * u
    if p < 0:  # what underflows is lost beside a sum of norm^p, and the root divides that by |p|
        with np.errstate(over="ignore"):
            return rounded + lost * np.where(norm > 0, norm, 0.0) ** -p / abs(p), 0.0
    return rounded, float(lost ** (1 / p))


def powers_overflow(rows: Floats, p: float, fmt: Format) -> npt.NDArray[np.bool_]:
    """In which rows the sum of the powers of finite elements, from which a norm comes, is too large for its format."""
    if np.isinf(p) or p == 0:
        return np.zeros(len(rows), np.bool_)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(1))
    with np.errstate(all="ignore"):
        sums = (np.abs(np.where(finite[:, None], rows, 0.0)) ** p).sum(1)
    return np.asarray(np.greater_equal(sums, 2.0 ** accumulator(fmt).emax))


def exact_norms(rows: Floats, p: float, norm: Floats, fmt: Format) -> npt.NDArray[np.bool_]:
    """Whose norm is computed without any rounding: the extremes, counts, single elements and integers that fit."""
    if np.isinf(p):
        return np.ones(len(rows), np.bool_)
    if p == 0:
        return np.asarray(fmt.rounded(norm) == norm)
    if p not in (1.0, 2.0):
        return np.zeros(len(rows), np.bool_)
    acc = accumulator(fmt)
    representable = fmt.rounded(norm) == norm
    with np.errstate(all="ignore"):
        largest: Floats = np.abs(rows).max(1, initial=0.0)
        moderate = (largest == 0) | ((largest < 2.0**60) & (largest > 2.0**-60))
        single = ((rows != 0).sum(1) <= 1) & (moderate | (p == 1))
        sums = (np.abs(rows) ** p).sum(1)
        whole = np.equal(rows, np.rint(rows)).all(1) & (sums <= acc.largest_integer) & (norm == np.rint(norm))
    # sqrt(fl(x²)) = |x| in binary, and the root of a perfect square is exact.
    exact: npt.NDArray[np.bool_] = representable & (single | whole)
    return exact


def renormed(
    rows: Floats, looked_up: npt.NDArray[np.bool_], max_norm: float | None, p: float, fmt: Format, roundings: int = 2
) -> Renormed:
    """What a lookup of the rows that ``looked_up`` marks makes of the table ``rows``, with so many roundings to its format once
    there is a norm: of the factor, and of its products."""
    none = np.zeros(len(rows), np.bool_)
    finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(1))
    norm = p_norm(np.where(finite[:, None], rows, 0.0), p)
    zero = np.zeros_like(rows)
    if max_norm is None:
        return Renormed(rows, zero, ~none, none, ~none, norm, np.zeros(len(rows)))
    u = fmt.unit_roundoff
    relative, absolute = norm_error(p, rows.shape[1], norm, fmt)
    relative = relative + (u if fmt is not accumulator(fmt) else 0.0) + _ORACLE
    exact = exact_norms(rows, p, norm, fmt)
    # Of a negative p there is no norm, and torch.renorm refuses one ('non-positive-norm not supported'): nobody says what
    # becomes of a row whose powers overflow.
    open_rows = powers_overflow(rows, p, fmt) & (norm > 0) & finite if p < 0 else none
    with np.errstate(over="ignore"):
        # A norm is rounded to the table's format, where it may underflow.
        low = np.where(exact, norm, norm * (1 - relative) - absolute - fmt.smallest_subnormal)
        high = np.where(exact, norm, norm * (1 + relative) + absolute + fmt.smallest_subnormal * (norm > 0))
    has_nan = np.isnan(rows).any(1)  # no norm exceeds anything
    judged = ~looked_up | finite | has_nan
    kept = ~looked_up | has_nan | (finite & (high <= max_norm) & ~open_rows)
    scaled = looked_up & finite & (low > max_norm) & ~open_rows
    with np.errstate(all="ignore"):
        departure = np.maximum(1 - norm / (high + DIVISOR), np.where(low > 0, norm / low - 1, np.inf))
        tau = (1 + departure) * (1 + u + _ORACLE) ** roundings - 1
        value = rows * np.where(scaled | ~kept, max_norm / np.where(norm > 0, norm, 1.0), 1.0)[:, None]
        bound = np.abs(value) * tau[:, None] + (np.abs(rows) + 1) * fmt.smallest_subnormal
    return Renormed(value, np.where(np.isnan(bound), np.inf, bound), kept, scaled, judged, norm, tau)


# -- the case ----------------------------------------------------------------------------------------------------


def _table(rows: int, width: int, dtype: str, limit: float, variant: int) -> Array:
    """Rows of every kind around ``limit``: what each is changes with the row and ``variant``."""
    fmt = FORMATS[dtype]
    noise = (stream.words(stream.derive("renorm", variant), rows * width) >> np.uint64(11)).astype(np.float64)
    table = (noise / 2.0**52 - 1).reshape(rows, width)
    length = np.sqrt((table**2).sum(1)) if width else np.ones(rows)
    table /= np.where(length > 0, length, 1.0)[:, None]
    limit = min(limit, 2.0 ** (fmt.emax - 6)) if np.isfinite(limit) else 1.0
    size = max(limit, 2.0**-12)
    stored = fmt.rounded(np.array([limit]))[0]
    step = max(stored * 2.0 ** (1 - fmt.precision), fmt.smallest_subnormal)
    axis = stream.below(stream.derive("axis", variant), rows, max(width, 1))
    every = np.arange(rows)
    kinds = (every + variant) % 14
    for kind in range(14 if width else 0):
        of = every[kinds == kind]
        single = np.zeros((len(of), width))
        here, at = np.arange(len(of)), axis[of]
        match kind:
            case 0 | 1 | 2:  # (3, 4), and further powers of two
                single[here, at] = 3.0 * 2.0**kind
                single[here, (at + 1) % width] = 4.0 * 2.0**kind
                single[1::2] *= -1
            case 3:
                single[here, at] = stored  # at the limit
            case 4:
                single[here, at] = -(stored + step)  # just above
            case 5:
                single[here, at] = stored - step / 2  # just below
            case 6 | 7 | 8:
                single = table[of] * size * (0.5, 1.5, 40.0)[kind - 6]
            case 9:
                single = np.sign(table[of]) * np.floor(np.abs(table[of]) * 7 + 1)
            case 10:
                single *= -1.0  # zeros below zero
            case 11:
                single -= 1.0
            case 12:
                single = table[of] * size  # within rounding of the limit
            case _:
                single = table[of] * fmt.smallest_subnormal * 64
        table[of] = single
    return fmt.encode(table)


_kept_table = lru_cache(maxsize=4096)(_table)


class MaxNormCase(LookupCase):
    """A lookup with max_norm; ``values`` are *mixed* (rows of every kind around it), *huge*, or as in `LookupCase`."""

    @cached_property
    def weight_stored(self) -> Array:
        rows, width = self.num_embeddings, self.embedding_dim
        limit = 1.0 if self.max_norm is None else float(self.max_norm)
        if self.values == "mixed":
            make = _kept_table if rows * width <= 4096 else _table
            return make(rows, width, self.dtype, limit, self.seed % 56)
        if self.values == "huge":
            plain = self.format.decode(_table(rows, width, self.dtype, 1.0, self.seed % 14))
            return self.format.encode(np.clip(plain, -1, 1) * 2.0**self.format.emax)
        return LookupCase(*self).weight_stored

    @cached_property
    def looked_up(self) -> npt.NDArray[np.bool_]:
        """Which rows are looked up, shape ``(V,)``."""
        marked = np.zeros(self.num_embeddings, np.bool_)
        tokens = self.tokens
        marked[tokens[(tokens >= 0) & (tokens < self.num_embeddings)]] = True
        return marked

    def after(self, rows: Floats, looked_up: npt.NDArray[np.bool_] | None = None) -> Renormed:
        """What the lookup makes of a table."""
        marked = self.looked_up if looked_up is None else looked_up
        # A user's layer may round what it adds to the norm, too, and multiply by a reciprocal.
        roundings = 4 if is_subject(self.entry) else 2
        return renormed(rows, marked, self.max_norm, float(self.norm_type), self.format, roundings)

    @cached_property
    def fate(self) -> Renormed:
        """What the lookup makes of the table that is fed."""
        return self.after(self.weight_values)

    @property
    def spent(self) -> bool:
        """Whether the weight was used, and is needed for its derivative, before a lookup that writes to it."""
        return self.route == "used_before" and self.max_norm is not None and bool(self.fate.scaled.any())

    @property
    def writes_first(self) -> bool:
        """Whether a row that comes, in order of the tokens, before one that no table has may be rescaled: it is over
        the limit, or its norm is where the format ends."""
        tokens = np.unique(self.tokens)
        outside = np.flatnonzero((tokens < -self.num_embeddings) | (tokens >= self.num_embeddings))
        before = tokens[: outside[0]] if len(outside) else tokens
        marked = np.zeros(self.num_embeddings, np.bool_)
        marked[before] = True
        reached = self.after(self.weight_values, marked)
        return bool((~reached.kept).any()) or self.overflows

    @property
    def includes_last(self) -> bool:
        """Whether it is a bag whose offsets say where the last one ends, too."""
        return self.entry in CUT and self.num_embeddings % 2 == 1

    @property
    def overflows(self) -> bool:
        """Whether a finite norm, or the sum that leads to it, is too large for its format."""
        fate, p = self.fate, float(self.norm_type)
        if np.isinf(p) or p == 0 or self.max_norm is None:
            return False
        rows = self.weight_values
        finite: npt.NDArray[np.bool_] = np.asarray(np.isfinite(rows).all(1))
        large: npt.NDArray[np.bool_] = powers_overflow(rows, p, self.format) & (fate.norm > 0)
        large |= fate.norm >= 2.0**self.format.emax
        return bool((large & self.looked_up & finite).any())

    def facts(self) -> dict[str, Any]:
        """largest_norm: of the rows that are rescaled."""
        fate, rows, limited = self.fate, self.weight_values, self.max_norm is not None
        limit = np.nan if self.max_norm is None else self.max_norm  # no norm compares with NaN
        return {
            **super().facts(),
            "over": bool(fate.scaled.any()),
            "within": limited and bool((self.looked_up & fate.kept & (fate.norm > 0)).any()),
            "at_limit": bool((self.looked_up & fate.kept & (fate.norm == limit)).any()),
            "spared": bool((~self.looked_up & (fate.norm > limit)).any()),
            "limited": limited,
            "limit_below_zero": limit < 0,
            "largest_norm": float(fate.norm[fate.scaled].max(initial=0.0)),
            "nan_row": bool((np.isnan(rows).any(1) & self.looked_up).any()),
            "zero_row": bool((~rows.any(1) & self.looked_up).any()),
            "spent": self.spent,
            "writes_first": self.refused and limited and self.writes_first,
            "overflows": self.overflows,
            "bag": self.entry.startswith("bag"),
            "include_last_offset": self.includes_last,
            "plain": self.entry in PLAIN,
        }
