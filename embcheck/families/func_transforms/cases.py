"""The case of a transformed lookup, and what the definitions give for it.  Knows no torch.

With A = one_hot(i), M the same with padding's rows zero, c the counts with scale_grad_by_freq and else 1:
the value is A W; a derivative that goes forward pushes a tangent Ẇ to A Ẇ; one that goes backward pulls an upstream
gradient G back to Mᵀ G / c; differentiated again by G it pushes, masked: M Ẇ / c.
"""

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import bound
from embcheck.core.axes import Input, OfDtype, OfTokens
from embcheck.core.case import Ints, LookupCase
from embcheck.core.format import Array, Floats
from embcheck.core.layout import shared
from embcheck.core.oracle import Expected, accumulate
from embcheck.families.tied_training.data import whole

#: What may be mapped over by vmap, in the order of a look's arguments.
PARTS = ("weight", "indices", "upstream")


class Sample(NamedTuple):
    """One sample: table and tangent ``(V, D)``, tokens ``(n,)``, upstream gradient ``(n, D)``."""

    weight: Floats
    tangent: Floats
    tokens: Ints
    upstream: Floats


class TransformCase(OfDtype, OfTokens):
    """A lookup to which a transform of `torch.func` or of autograd is applied."""

    num_embeddings: int
    embedding_dim: int
    transform: str = "grad"
    indices: str = "cycle"
    #: of one sample's indices
    shape: tuple[int, ...] = (3,)
    padding_idx: int | None = None
    scale_grad_by_freq: bool = False
    sparse: bool = False
    #: what vmap maps over, a subset of PARTS, and how many samples there are
    mapped: tuple[str, ...] = ()
    batch: int = 2
    #: at which axis the samples lie in what is fed, and in what comes out
    in_dim: int = 0
    out_dim: int = 0
    out_of_range: str | None = None
    dtype: str = "float32"
    index_dtype: str = "int64"
    layout: str = "contiguous"
    look: str = "functional"
    seed: int = 0
    upstream_layout: str = "contiguous"
    #: whether table and upstream gradient are plain, require grad, or are Parameters, frozen or not
    given: str = "plain"
    #: how often the transform was applied before, at other values
    earlier: int = 0
    #: how many samples vmap takes at a time
    chunk: int | None = None
    index_layout: str = "contiguous"
    tangent_layout: str = "contiguous"

    @cached_property
    def lookup(self) -> LookupCase:
        """The lookup of all samples' tokens, which speaks for tokens, padding and counts."""
        shape = (self.batch, *self.shape) if "indices" in self.mapped else self.shape
        return LookupCase(
            self.num_embeddings, self.embedding_dim, self.indices, shape, self.padding_idx, out_of_range=self.out_of_range,
            dtype=self.dtype, index_dtype=self.index_dtype, seed=self.seed,
        )  # fmt: skip

    @property
    def refused(self) -> bool:
        return self.lookup.refused

    @property
    def twice(self) -> bool:
        """Whether second derivatives are exact, and there are any: counts make them round, and of no tokens there are none (see the
        ledger)."""
        return not self.scale_grad_by_freq and self.numel > 0

    @property
    def small_too(self) -> bool:
        """Whether the transform is also applied to functions of several small tables, which takes as long as the case itself."""
        return self.seed % 8 == 0

    def count(self, part: str) -> int:
        """How many there are of a part: one for each sample, or one for all."""
        return self.batch if part in self.mapped else 1

    @cached_property
    def tables(self) -> Floats:
        """The tables, shape ``(count, V, D)``: distinct integers up to 100, alternating in sign, times one that no narrower format
        holds."""
        shape = (self.count("weight"), self.num_embeddings, self.embedding_dim)
        number = np.arange(math.prod(shape), dtype=np.float64)
        unit = {"float64": 2.0**33 + 1, "float32": 257 / 256, "float16": 9 / 8}.get(self.dtype, 1.0)
        return (unit * (1 + number % 100) * np.where(number % 2, -1.0, 1.0)).reshape(shape)

    @cached_property
    def tangents(self) -> Floats:
        """The tangents, of the tables' shape: ±1…±3, in float64 with an odd seed times 2^24 + 1."""
        return self._unit(1) * whole(self.tables.shape, 3, "transform", "tangent", self.seed % 64)

    @cached_property
    def upstreams(self) -> Floats:
        """The upstream gradients, shape ``(count, n, D)``: ±1…±3, in float64 with an even seed times 2^24 + 1."""
        count, width = self.count("upstream"), self.embedding_dim
        sent = whole((count * self.numel, width), 3, "transform", "upstream", self.seed % 64)
        return self._unit(0) * shared(sent, self.upstream_layout).reshape(count, self.numel, width)

    def _unit(self, odd: int) -> float:
        """What no narrower format holds three times, as far as sums are exact; of tangents and upstream gradients one, for their
        products have to fit."""
        fits = 18 * 257 * self.lookup.max_count * self.batch <= 1 << 24
        unit = {"float64": 2.0**24 + 1, "float32": 257.0 if fits else 1.0}.get(self.dtype, 1.0)
        return unit if self.seed % 2 == odd else 1.0

    @cached_property
    def samples(self) -> list[Sample]:
        tokens = self.lookup.tokens.reshape(self.count("indices"), self.numel)
        batch = self.batch if self.mapped else 1
        return [
            Sample(*(whole[b % len(whole)] for whole in (self.tables, self.tangents, tokens, self.upstreams)))
            for b in range(batch)
        ]

    # -- what is fed -------------------------------------------------------------------------------------------

    def axis(self, part: str) -> int | None:
        """The axis of a part that vmap maps over."""
        if part not in self.mapped:
            return None
        rank = {"weight": 2, "indices": len(self.shape), "upstream": len(self.shape) + 1}[part] + 1
        return self.in_dim if -rank <= self.in_dim < rank else 0

    @property
    def dims(self) -> tuple[int | None, ...]:
        """The axes that vmap maps over, in the order of PARTS."""
        return tuple(self.axis(part) for part in PARTS)

    def inputs(self) -> dict[str, Input]:
        tokens = self.lookup.tokens.reshape(self.count("indices"), *self.shape).astype(self.index_dtype)
        upstream = self.upstreams.reshape(self.count("upstream"), *self.shape, self.embedding_dim)
        return {
            "weight": Input(self._laid("weight", self.format.encode(self.tables)), self.dtype, self.layout),
            "indices": Input(self._laid("indices", tokens), self.index_dtype, self.index_layout),
            "upstream": Input(self._laid("upstream", self.format.encode(upstream)), self.dtype, self.upstream_layout),
            "tangent": Input(self._laid("weight", self.format.encode(self.tangents)), self.dtype, self.tangent_layout),
        }

    def _laid(self, part: str, stacked: Array) -> Array:
        axis = self.axis(part)
        if axis is None:
            return stacked.reshape(stacked.shape[1:])
        return np.ascontiguousarray(np.moveaxis(stacked, 0, axis))

    # -- what is due -------------------------------------------------------------------------------------------

    def masked(self, sample: Sample) -> Floats:
        """0 for the tokens that are padding, 1 for the others, divided by the counts: shape ``(n, 1)``."""
        row = self.lookup.padding_row
        kept = np.ones(self.numel) if row is None else (sample.tokens != row).astype(np.float64)
        if self.scale_grad_by_freq:
            kept = kept / np.bincount(sample.tokens, minlength=self.num_embeddings)[sample.tokens]
        return kept[:, None]

    def pull(self, sample: Sample, sent: Floats) -> Expected:
        """Mᵀ G / c with its bound: exact where the counts are powers of two."""
        weights = self.masked(sample)
        value = accumulate(sample.tokens, self.num_embeddings, (weights > 0) * sent)
        if not self.scale_grad_by_freq:
            return value, np.zeros_like(value)
        counts = np.bincount(sample.tokens, minlength=self.num_embeddings).astype(np.float64)[:, None]
        magnitude = accumulate(sample.tokens, self.num_embeddings, weights * np.abs(sent))
        exact = np.log2(np.maximum(counts, 1)) % 1 == 0
        limit = bound.scaled_sum(counts + 2, self.format.unit_roundoff) * magnitude
        return value / np.maximum(counts, 1), np.where(exact, 0.0, limit)

    @property
    def value_bits(self) -> Any:
        """The bits of W[i], for transforms that return the value as well."""
        sample = self.samples[0]
        stored = self.format.encode(sample.weight[sample.tokens])
        return self.format.to_bits(stored).reshape(*self.shape, self.embedding_dim)

    @property
    def reads_neighbour(self) -> bool:
        """Whether every index lies in the samples' tables laid end to end, though some lie outside their own."""
        if not {"weight", "indices"} <= set(self.mapped) or not self.refused:
            return False
        flat = self.lookup.tokens.reshape(self.batch, -1) + self.num_embeddings * np.arange(self.batch)[:, None]
        return bool(flat.min() >= 0 and flat.max() < self.batch * self.num_embeddings)

    @property
    def _primal_overlaps(self) -> bool:
        forward = ("jvp_by_arguments", "jacfwd_by_arguments", *(["hessian_by_arguments"] if self.twice else []))
        expanded = {"equal_rows": self.numel, "equal_columns": self.embedding_dim}.get(self.upstream_layout, 0)
        return self.transform in forward and expanded > 1 and bool(self.numel and self.embedding_dim)

    def facts(self) -> dict[str, Any]:
        """axes_by_name: vmap's axes, which differ, are told in another order than what they belong to; alone_in_chunk: some chunk
        of vmap looks up one token; primal_overlaps: forward mode differentiates by the upstream gradient, whose elements share
        memory."""
        maps = {f"maps_{part}": part in self.mapped for part in PARTS}
        looked = self.lookup.facts()
        chunk = 2 if self.transform == "vmap_in_chunks" else self.chunk or self.batch
        return {
            **looked,
            **self.axes,
            **maps,
            "axes_by_name": self.transform == "vmap_by_names" and "indices" in self.mapped,
            "maps_weight_only": self.mapped == ("weight",),
            "numel": self.numel,
            "rank": len(self.shape),
            "nothing_counted": looked["empty"] or looked["all_padding"],
            "nothing": looked["empty"] or looked["zero_width"],
            "reads_neighbour": self.reads_neighbour,
            "primal_overlaps": self._primal_overlaps,
            "small_too": self.small_too,
            "alone_in_chunk": self.numel == 1 and (chunk == 1 or self.batch % chunk == 1),
        }
