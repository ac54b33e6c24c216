"""A case: an immutable value that says what is fed to an embedding.

A case names its data (a pattern, a regime, a layout, a seed) and expands to the same arrays on every machine.  It
prints as the line that builds it, knows its ``facts`` and knows no torch.  `LookupCase` is the lookup in a table, which
most laws speak of; other families declare the axes of their own case on top of `Axes`.
"""

from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype, OfTokens
from embcheck.core.counts import tokens_of
from embcheck.core.format import FORMATS, Array, Floats, Format, special_patterns
from embcheck.core.layout import EQUAL_IN_SEQUENCE, fitting, shared
from embcheck.core.onednn import PRODUCTS, lookup_reads_on, one_column
from embcheck.core.pattern import occurrence, stray_of

Ints = npt.NDArray[np.int64]


def with_padding_first(condition: str) -> tuple[str, str]:
    """A condition with the padding row among the tokens, then without: what a family calls typical."""
    return f"padding_hit & {condition}", condition


#: A typical lookup: tokens in several axes, some rows more often than others.
TYPICAL = with_padding_first("unequal_counts & rank>=2 & num_embeddings>=3 & embedding_dim>=2")
#: Tables of at most this many elements, and at most so many tokens, are expanded once and kept.
_CACHED, _FEW = 8192, 64
#: So many of a kind: an enumeration comes back to few, and random cases to hardly any.
_KEPT = 1024


class LookupCase(OfDtype, OfTokens):
    """A lookup of ``shape`` tokens in a table of ``num_embeddings`` rows and ``embedding_dim`` columns."""

    # Simplest value first in each axis' enumeration.
    num_embeddings: int
    embedding_dim: int
    #: the name of a pattern, or the token values themselves in row-major order
    indices: str | tuple[int, ...] = "cycle"
    shape: tuple[int, ...] = (3,)
    padding_idx: int | None = None
    scale_grad_by_freq: bool = False
    sparse: bool = False
    max_norm: float | None = None
    norm_type: float = 2.0
    #: an index just outside the table put among the others, by name
    out_of_range: str | None = None
    dtype: str = "float32"
    index_dtype: str = "int64"
    layout: str = "contiguous"
    index_layout: str = "contiguous"
    upstream_layout: str = "contiguous"
    #: what the table holds: fingerprint, small, real or special
    values: str = "fingerprint"
    #: what the upstream gradient holds: code, ones, real or special; tiny and huge are code near the ends of the range
    upstream: str = "code"
    #: which spelling of the operation is called
    entry: str = "functional"
    #: how the derivative is taken
    route: str = "backward_call"
    #: what happened before the call that is judged
    history: str = "fresh"
    requires_grad: bool = True
    threads: int = 1
    seed: int = 0

    @cached_property
    def padding_row(self) -> int | None:
        """The row that ``padding_idx`` names, counted from the front; None without padding."""
        if self.padding_idx is None:
            return None
        return self.padding_idx % self.num_embeddings if self.num_embeddings else self.padding_idx

    @cached_property
    def tokens(self) -> Ints:
        """The token values, row-major, shape ``(numel,)``; includes the stray one."""
        if isinstance(self.indices, tuple):
            tokens = np.array(self.indices, np.int64)
        else:
            arguments = (self.indices, self.numel, self.num_embeddings, self.padding_row, self.seed)
            tokens = (_kept_tokens if self.numel <= _FEW else _tokens)(*arguments)
        if self.out_of_range is not None and self.numel:
            tokens = tokens.copy()
            tokens[self.seed % self.numel] = stray_of(self.out_of_range, self.num_embeddings, self.index_dtype)
        return tokens

    @cached_property
    def refused(self) -> bool:
        """Whether a token lies outside ``[0, num_embeddings)``: then the lookup must raise."""
        if self.out_of_range is None and isinstance(self.indices, str):
            return bool(self.numel) and not self.num_embeddings  # patterns stay inside
        tokens = self.tokens
        return bool(tokens.size) and bool(tokens.min() < 0 or tokens.max() >= self.num_embeddings)

    @cached_property
    def counted(self) -> npt.NDArray[np.bool_]:
        """Which tokens contribute a gradient (all but padding), shape ``(numel,)``."""
        if self.padding_row is None:
            return np.ones(self.numel, np.bool_)
        return np.not_equal(self.tokens, self.padding_row)

    @cached_property
    def counts(self) -> Ints:
        """How often each row is looked up, padding included, shape ``(num_embeddings,)``."""
        return np.bincount(self.tokens, minlength=self.num_embeddings)

    @cached_property
    def max_count(self) -> int:
        return 0 if self.refused or not self.numel else int(self.counts.max())

    @cached_property
    def weight_stored(self) -> Array:
        """The table in storage, shape ``(num_embeddings, embedding_dim)``; do not write to it."""
        arguments = (self.num_embeddings, self.embedding_dim, self.dtype, self.values, self.seed % 16)
        small = self.num_embeddings * self.embedding_dim <= _CACHED
        return shared((_kept_table if small else _table)(*arguments), self.layout)

    @cached_property
    def weight_values(self) -> Floats:
        """The table's values as float64."""
        return self.format.decode(self.weight_stored)

    @cached_property
    def upstream_values(self) -> Floats:
        """The upstream gradient of the looked-up rows, float64 of shape ``(numel, embedding_dim)``.

        In the exact regimes the magnitudes that meet in one row sum to at most 2^(p-2), so that even four backward
        passes that accumulate stay exact in any order.
        """
        return self._sent[0]

    @property
    def _upstream_laid(self) -> str:
        """The layout of the upstream gradient, where its values can have it."""
        # More tokens than the format can count can't all say the same; one token is no sequence.
        crowded = self.upstream not in ("ones", "real") and self.max_count > self.format.largest_integer >> 2
        lost = {"expanded": self.upstream != "ones", "equal_rows": crowded, EQUAL_IN_SEQUENCE: not self.shape}
        return "contiguous" if lost.get(self.upstream_layout) else self.upstream_layout

    @cached_property
    def _sent(self) -> tuple[Floats, Array]:
        values, stored = _sent(self)
        laid = self._upstream_laid
        return shared(values, laid, self.shape), shared(stored, laid, self.shape)

    @property
    def weight_input(self) -> Input:
        return Input(self.weight_stored, self.dtype, self.layout, self.requires_grad)

    @property
    def index_input(self) -> Input:
        stored = self.tokens.reshape(self.shape).astype(self.index_dtype, copy=False)
        return Input(stored, self.index_dtype, fitting(self.index_layout, stored))

    @property
    def upstream_input(self) -> Input:
        return Input(self._sent[1].reshape(*self.shape, self.embedding_dim), self.dtype, self._upstream_laid)

    def facts(self) -> dict[str, Any]:
        """The axes and: numel, rank, refused, max_count, repeated, unequal_counts, padded, padding_hit, padding_absent,
        all_padding, first_row, last_row, untouched_row, negative_padding, empty, zero_width, numbers of table
        elements, reads_on (AMX reads on behind the rows of a product that looks up), one_column (it multiplies a matrix of
        one column whose elements lie apart)."""
        refused, padding = self.refused, self.padding_row
        counts: list[int] = [] if refused else self.counts.tolist()
        seen = [count for count in counts if count]
        hit = bool(padding is not None and not refused and padding < len(counts) and counts[padding])
        return {
            **self.axes,
            "numel": self.numel,
            "rank": len(self.shape),
            "refused": refused,
            "max_count": self.max_count,
            "repeated": self.max_count > 1,
            "unequal_counts": len(seen) > 1 and min(seen) != max(seen),
            "padded": padding is not None,
            "padding_hit": hit,
            "padding_absent": padding is not None and not hit,
            "all_padding": hit and len(seen) == 1,
            "first_row": not refused and self.num_embeddings > 0 and self.numel > 0 and bool(counts[0]),
            "last_row": not refused and self.num_embeddings > 0 and self.numel > 0 and bool(counts[-1]),
            "untouched_row": not refused and len(seen) < self.num_embeddings,
            "negative_padding": self.padding_idx is not None and self.padding_idx < 0,
            "empty": self.numel == 0,
            "zero_width": self.embedding_dim == 0,
            "elements": self.num_embeddings * self.embedding_dim,
            "reads_on": self.entry in PRODUCTS
            and lookup_reads_on(self.dtype, self.numel, self.num_embeddings, self.embedding_dim),
            "one_column": self.entry in PRODUCTS
            and one_column(
                self.dtype, self.num_embeddings, self.embedding_dim, self.numel, self.layout, self.upstream_layout
            ),
        }


def _tokens(pattern: str, numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    return _read_only(tokens_of(pattern, numel, rows, padding, seed))  # type: ignore[no-any-return]


def _table(num_embeddings: int, embedding_dim: int, dtype: str, values: str, variant: int) -> Array:
    fmt = FORMATS[dtype]
    size = num_embeddings * embedding_dim
    shape = (num_embeddings, embedding_dim)
    if values == "special":
        patterns = stream.shuffled(variant, special_patterns(fmt))
        return fmt.from_bits(np.resize(np.array(patterns, np.uint64), size)).reshape(shape)
    if values == "fingerprint" and size <= fmt.largest_integer:
        magnitude = np.arange(1, size + 1, dtype=np.float64)
        sign = np.where(np.arange(size) % 2, -1.0, 1.0)
        return fmt.encode(magnitude * sign).reshape(shape)
    code = stream.words(stream.derive("table", values, variant), size)
    return fmt.encode(coded(code, values, fmt)).reshape(shape)


def coded(code: npt.NDArray[np.uint64], values: str, fmt: Format) -> Floats:
    """Numbers from 64-bit codes: ``fingerprint`` an integer of up to p bits, ``small`` one of ±1…±3, ``rare`` such a one in
    sixteen places and 0 in the others, so that sums of thousands stay whole, ``real`` any
    normal number of magnitude in [1/8, 16) rounded to the format, ``wide`` an integer of up to p − 12 bits, and three at
    least: in float64 one that float32 does not hold."""
    sign = np.where(code >> np.uint64(63), -1.0, 1.0)
    body = code & np.uint64((1 << 53) - 1)
    match values:
        case "fingerprint":
            return sign * (1 + (body & np.uint64(fmt.largest_integer - 1)).astype(np.float64))
        case "small":
            return sign * (1 + (body % np.uint64(3)).astype(np.float64))
        case "rare":
            return np.where((body >> np.uint64(8)) % np.uint64(16) == 0, sign * (1 + (body % np.uint64(3))), 0.0)
        case "wide":
            return sign * (1 + (body % np.uint64(max(8, fmt.largest_integer >> 12))).astype(np.float64))
        case "real":
            exponent = ((code >> np.uint64(54)) % np.uint64(7)).astype(np.int64) - 3
            return fmt.rounded(np.ldexp(sign * (1 + body / 2.0**53), exponent))
    raise KeyError(f"no value regime {values!r}; there are fingerprint, small, rare, wide, real and special")


def _upstream(kind: str, dtype: str, variant: int, numel: int, width: int, span: int) -> tuple[Floats, Array]:
    fmt = FORMATS[dtype]
    code = stream.words(stream.derive("upstream", variant), numel * width).reshape(numel, width)
    if kind == "ones":
        values = np.ones((numel, width))
    elif kind == "real":
        values = coded(code, "real", fmt)
    else:
        sign = np.where(code >> np.uint64(63), -1.0, 1.0)
        values = sign * (1 + ((code >> np.uint64(8)) % np.uint64(span)).astype(np.float64))
        # Sums of code stay below 2^(p-2), so these stay multiples of η, and 8 times them (a route's passes) below 2^emax.
        values *= {"tiny": fmt.smallest_subnormal, "huge": 2.0 ** (fmt.emax - fmt.precision - 1)}.get(kind, 1.0)
    return values, _read_only(fmt.encode(values))


_kept_tokens = lru_cache(maxsize=_KEPT)(_tokens)
_kept_table = lru_cache(maxsize=_KEPT)(_table)
_kept_upstream = lru_cache(maxsize=_KEPT)(_upstream)


def _sent(case: LookupCase) -> tuple[Floats, Array]:
    """The upstream gradient's values and their storage, shape ``(numel, embedding_dim)``.

    In the exact regimes: nonzero integers that say which token they came from, within the row's exactness budget.
    """
    exact = case.upstream not in ("ones", "real")
    budget = case.format.largest_integer >> 2
    most = max(1, case.max_count) if exact else 1
    # In float64 too large for a computation that passes through float32.
    span = min(max(1, budget // most), 1000 if case.dtype != "float64" else 1 << 36)
    arguments = (case.upstream, case.dtype, case.seed % 64, case.numel, case.embedding_dim, span)
    small = case.numel * case.embedding_dim <= _CACHED
    values, stored = (_kept_upstream if small else _upstream)(*arguments)
    if small:
        values = values.copy()
    special = case.upstream == "special" and values.size > 0
    if not (special or most > budget):
        return values, stored
    if most > budget:
        # Too many tokens of one row for this format: each column lets another subset of them speak.
        spread = -(-most // budget)
        phase = occurrence(case.tokens)[:, None] + np.arange(case.embedding_dim)[None, :]
        values[phase % spread != 0] = 0.0
    if special:
        token, column = divmod(case.seed % values.size, case.embedding_dim)
        values[token, column] = (np.nan, np.inf, -np.inf)[case.seed % 3]
        alike = np.flatnonzero(case.tokens == case.tokens[token])
        if case.seed // 3 % 2 and len(alike) > 1:
            # An infinity of the other sign in the same row: their sum is NaN.
            values[alike[0] if alike[0] != token else alike[1], column] = (np.inf, -np.inf, np.inf)[case.seed % 3]
    return values, case.format.encode(values)


def _read_only(array: Any) -> Any:
    array.flags.writeable = False
    return array
