"""A case of an embedding bag: rows of a table, gathered into bags and reduced by sum, mean or max."""

from functools import cached_property
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype
from embcheck.core.case import LookupCase, coded
from embcheck.core.format import FORMATS, Array, Floats
from embcheck.core.layout import LAYOUTS, UPSTREAM_LAYOUTS, fitting, shared
from embcheck.core.pattern import Ints, stray_of
from embcheck.families.embedding_bag.kernel_paths import facts_of
from embcheck.families.embedding_bag.offsets import BAGS, WRONG_OFFSETS, lengths_of
from embcheck.families.embedding_bag.programs import BAG_ENTRIES, BAG_HISTORIES
from embcheck.families.embedding_bag.routes import BAG_ROUTES
from embcheck.families.lookup import cases

MODES = ("sum", "mean", "max")

#: Offsets that are none, and indices that are just outside the table: what must be refused, by the arrays that are fed.
OFFSET_MISTAKES = tuple(WRONG_OFFSETS)
STRAYS = ("stray_-1", "stray_V", "stray_V+1", "stray_-V", "stray_2V", "stray_2^32")
#: The same behind the last offset, where no bag has them.
LATE_STRAYS = tuple(f"late_{name}" for name in STRAYS[:-1])  # a kernel that reads so far behind crashes

#: Values of a table that are put over others.
_PUT_OVER = ("special", "poisoned", "vast", "near")


class BagCase(OfDtype):
    """``numel`` tokens in bags (and ``trailing`` ones behind them), of a table that is ``num_embeddings`` × ``embedding_dim``."""

    num_embeddings: Annotated[int, (3, 1, 2, 5, 8)]
    embedding_dim: Annotated[int, (2, 1, 3, 8, 17, 0)]
    mode: Annotated[str, MODES] = "sum"
    numel: Annotated[int, (4, 0, 1, 2, 3, 6, 8, 12)] = 4
    #: the name of a pattern of bags, or their lengths
    bags: Annotated[str | tuple[int, ...], BAGS] = "pairs"
    #: 1-D tokens with offsets, or a 2-D batch of bags of one length
    batch: Annotated[bool, (False, True)] = False
    include_last_offset: Annotated[bool, (False, True)] = False
    #: tokens behind the last bag, with include_last_offset
    trailing: Annotated[int, (0, 1, 3)] = 0
    indices: Annotated[str | tuple[int, ...], cases.PATTERN_NAMES] = "cycle"
    padding_idx: Annotated[int | None, cases.PADDINGS] = None
    scale_grad_by_freq: Annotated[bool, (False, True)] = False
    sparse: Annotated[bool, (False, True)] = False
    #: per_sample_weights: None, ones, small (integers from -2 to 3), real, zero or special (small ones, NaN and infinities)
    weights: Annotated[str | None, (None, "ones", "small", "real", "zero", "special")] = None
    #: what learns: table, weights, both or none
    learns: Annotated[str, ("table", "both", "weights", "none")] = "table"
    dtype: Annotated[str, tuple(FORMATS)] = "float32"
    index_dtype: Annotated[str, ("int64", "int32")] = "int64"
    offset_dtype: Annotated[str, ("int64", "int32")] = "int64"
    layout: Annotated[str, LAYOUTS] = "contiguous"
    index_layout: Annotated[str, LAYOUTS] = "contiguous"
    offset_layout: Annotated[str, LAYOUTS] = "contiguous"
    weights_layout: Annotated[str, LAYOUTS] = "contiguous"
    upstream_layout: Annotated[str, UPSTREAM_LAYOUTS] = "contiguous"
    values: Annotated[str, ("fingerprint", "small", "real", "special", "poisoned")] = "fingerprint"
    upstream: Annotated[str, ("code", "ones", "real", "special")] = "code"
    entry: Annotated[str, tuple(BAG_ENTRIES)] = "functional"
    route: Annotated[str, tuple(BAG_ROUTES)] = "backward_call"
    history: Annotated[str, tuple(BAG_HISTORIES)] = "fresh"
    threads: Annotated[int, (1, 2)] = 1
    #: what must be refused
    mistake: str | None = None
    #: whether a mistake is made on the device meta, where only elements are missing
    on_meta: bool = False
    seed: int = 0

    @cached_property
    def lookup(self) -> LookupCase:
        """The lookup of all tokens in the same table."""
        total = self.numel + self.trailing
        return LookupCase(
            self.num_embeddings,
            self.embedding_dim,
            self.indices if isinstance(self.indices, str) else tuple(self.indices),
            (total,),
            self.padding_idx,
            dtype=self.dtype,
            index_dtype=self.index_dtype,
            index_layout=self.index_layout,
            values="fingerprint" if self.values in _PUT_OVER else self.values,
            seed=self.seed,
        )

    @cached_property
    def lengths(self) -> Ints:
        """The lengths of the bags, padding tokens included."""
        if isinstance(self.bags, tuple):
            return np.array(self.bags, np.int64)
        if self.batch:
            each = {"one": max(self.numel, 1), "singletons": 1, "fours": 4, "empty_first": 3}.get(self.bags, 2)
            if not self.numel:
                return np.zeros(0 if self.bags == "one" else 2, np.int64)
            each = each if self.numel % each == 0 else 1
            return np.full(self.numel // each, each, np.int64)
        return lengths_of(self.bags, self.numel, self.seed)

    @cached_property
    def tokens(self) -> Ints:
        """The tokens, those behind the last bag included, shape ``(numel + trailing,)``."""
        return self.lookup.tokens

    @cached_property
    def bag_of(self) -> Ints:
        """The bag of each of the first ``numel`` tokens."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def kept(self) -> npt.NDArray[np.bool_]:
        """Which of the first ``numel`` tokens are reduced: all but padding."""
        return self.lookup.counted[: self.numel]

    @cached_property
    def sizes(self) -> Ints:
        """How many tokens of each bag are reduced."""
        return np.bincount(self.bag_of[self.kept], minlength=len(self.lengths))

    @cached_property
    def counts(self) -> Ints:
        """How often each row occurs, shape ``(num_embeddings,)``."""
        return np.bincount(self.tokens[: self.numel], minlength=self.num_embeddings)

    @cached_property
    def table_stored(self) -> Array:
        """The table in storage.

        ``special`` has NaN, infinities and zeros of both signs among its elements, ``poisoned`` NaN and infinities in
        the rows that no bag reduces, padding and trailing ones included, ``vast`` such numbers that the sum of any two of
        a column, whose signs are equal, is beyond the format, ``near`` numbers from 1 on that are next to each other.
        """
        stored = self.lookup.weight_stored
        if self.values not in _PUT_OVER or not stored.size:
            return stored
        values = self.format.decode(stored)
        if self.values == "poisoned":
            absent = np.ones(self.num_embeddings, np.bool_)
            absent[self.tokens[: self.numel][self.kept]] = False
            values[absent] = np.resize([np.nan, np.inf, -np.inf], values[absent].shape)
            return self.format.encode(values)
        code = stream.words(stream.derive(self.values, self.seed % 64), values.size).reshape(values.shape)
        if self.values == "vast":
            half = 2.0**self.format.emax * (1 + 0.25 * (code % np.uint64(3)).astype(np.float64))
            return self.format.encode(np.where(code[0] >> np.uint64(63), -half, half))
        if self.values == "near":
            return self.format.encode(1 + 2 * self.format.unit_roundoff * (code % np.uint64(8)).astype(np.float64))
        marked = code % np.uint64(4) == 0
        kinds = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0])
        values[marked] = kinds[((code >> np.uint64(8)) % np.uint64(5)).astype(np.int64)][marked]
        return self.format.encode(values)

    @cached_property
    def table_values(self) -> Floats:
        return self.format.decode(self.table_stored)

    @cached_property
    def sample_values(self) -> Floats:
        """per_sample_weights, or ones, shape ``(numel + trailing,)``."""
        total = self.numel + self.trailing
        if self.weights in (None, "ones"):
            return np.ones(total)
        if self.weights == "zero":
            return np.zeros(total)
        code = stream.words(stream.derive("samples", self.seed % 64), total)
        if self.weights in ("small", "special"):
            small = ((code >> np.uint64(8)) % np.uint64(6)).astype(np.float64) - 2
            if self.weights == "special" and total:
                small[self.seed % 3 :: 5] = np.resize([np.inf, -np.inf, np.nan, -0.0], small[self.seed % 3 :: 5].shape)
            return small
        return coded(code, "real", self.format)

    @cached_property
    def upstream_values(self) -> Floats:
        """The upstream gradient, a row for each bag: integers small enough that sums stay exact where that is possible."""
        shape = (len(self.lengths), self.embedding_dim)
        if self.upstream == "ones":
            return np.ones(shape)
        code = stream.words(stream.derive("bag upstream", self.seed % 64), shape[0] * shape[1]).reshape(shape)
        if self.upstream == "real":
            return shared(coded(code, "real", self.format), self.upstream_layout)
        most = max(1, int(self.counts.max(initial=0))) * (3 if self.weights in ("small", "special") else 1)
        most *= int(self.lengths.max(initial=1)) if self.mode == "mean" else 1
        if self.learns != "table":
            most *= 3 * max(1, self.embedding_dim)  # products with the rows are summed, too
        span = np.uint64(min(max(1, (self.format.largest_integer >> 2) // max(1, most)), 1000))
        values = np.where(code >> np.uint64(63), -1.0, 1.0) * (1 + ((code >> np.uint64(8)) % span).astype(np.float64))
        if self.upstream == "special" and values.size:
            values.flat[self.seed % values.size] = (np.nan, np.inf, -np.inf)[self.seed % 3]
        return shared(values, self.upstream_layout)

    @property
    def refused(self) -> bool:
        """Whether the call, or its derivative, must be refused."""
        return self.mistake is not None

    @property
    def offsets(self) -> Ints:
        """Where the bags start, and with include_last_offset where the last one ends."""
        ends = np.cumsum(self.lengths)
        starts = ends - self.lengths
        if self.include_last_offset:
            starts = np.r_[starts, ends[-1:]] if len(ends) else np.zeros(1, np.int64)
        if self.mistake in WRONG_OFFSETS:
            several = WRONG_OFFSETS[self.mistake]
            starts = np.array(several[self.seed % len(several)], np.int64)
        return starts.astype(np.int64)

    @property
    def tokens_shape(self) -> tuple[int, ...]:
        """The shape of the tokens as they are fed, and of their weights."""
        bags = len(self.lengths)
        return (bags, self.numel // bags if bags else 3) if self.batch else (len(self.tokens),)

    def inputs(self) -> dict[str, Input]:
        """What is fed: weight, indices, upstream, and where given offsets and sample_weights."""
        tokens = self.tokens
        if self.mistake in (*STRAYS, *LATE_STRAYS):
            tokens = tokens.copy()
            name = self.mistake.removeprefix("late_").removeprefix("stray_")
            place = self.seed % self.numel if self.mistake in STRAYS else -1
            tokens[place] = stray_of(name, self.num_embeddings, self.index_dtype)
        stored = tokens.astype(self.index_dtype).reshape(self.tokens_shape)
        upstream = self.format.encode(self.upstream_values)
        fed = {
            "weight": Input(self.table_stored, self.dtype, self.layout),
            "indices": Input(stored, self.index_dtype, fitting(self.index_layout, stored)),
            "upstream": Input(upstream, self.dtype, fitting(self.upstream_layout, upstream)),
        }
        if not self.batch:
            offsets = self.offsets.astype(self.offset_dtype)
            fed["offsets"] = Input(offsets, self.offset_dtype, fitting(self.offset_layout, offsets))
        if self.weights is not None:
            samples = self.format.encode(self.sample_values).reshape(self.tokens_shape)
            fed["sample_weights"] = Input(samples, self.dtype, fitting(self.weights_layout, samples))
        return fed

    def facts(self) -> dict[str, Any]:
        lengths, sizes = self.lengths.tolist(), self.sizes.tolist()
        counts = self.counts
        hit = self.numel > int(self.kept.sum())
        return {
            **self.axes,
            "refused": self.refused,
            "bag_count": len(lengths),
            "max_length": max(lengths, default=0),
            "empty": self.numel == 0,
            "no_bags": not lengths,
            "empty_bag": 0 in lengths,
            "empty_first": bool(lengths) and not lengths[0],
            "empty_middle": 0 in lengths[1:-1],
            "empty_last": bool(lengths) and not lengths[-1],
            "unequal_lengths": len(set(lengths)) > 1,
            "columnless_batch": self.batch and bool(lengths) and not lengths[0],
            "padded": self.padding_idx is not None,
            "padding_hit": hit,
            "only_padding": hit and not self.kept.any(),
            "padding_bag": any(n and not k for n, k in zip(lengths, sizes, strict=True)),
            "negative_padding": self.padding_idx is not None and self.padding_idx < 0,
            "trailed": self.trailing > 0,
            "weighted": self.weights is not None,
            "repeated": bool((counts > 1).any()),
            "untouched_row": bool((counts == 0).any()),
            "last_row": bool(counts[-1:].any()),
            "mixed_dtypes": self.index_dtype != self.offset_dtype,
            "zero_width": self.embedding_dim == 0,
            "half": self.dtype in ("float16", "bfloat16"),
            "plain": self.entry == "nested",  # which no further mode runs
            "nan_in_bag": self.values == "special" and self.mode == "max"
            and bool(np.isnan(self.table_values[self.tokens[: self.numel]]).any()),
            "starts_late": self.mistake == "offsets_from_one" and bool(self.offsets[0] > 0),
            "sum_overflows": self.values == "vast" and int(self.sizes.max(initial=0)) > 1,
            **facts_of(self),
        }  # fmt: skip
