"""A lookup in a table that several processes share, as a case; knows no torch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.core.oracle import accumulate

Tokens = npt.NDArray[np.int64]
#: What is added to a norm before something is divided by it (aten::embedding_renorm_).
_EPSILON = 1e-7


class _ShardedAxes(NamedTuple):
    """The axes, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    shape: tuple[int, ...] = (2,)
    #: how many processes there are
    ranks: int = 1
    #: how the table is placed: "replicate", "rows" or "columns"
    table: str = "replicate"
    #: how the tokens are placed: "replicate", or sharded along their "first" or "last" axis
    tokens_placed: str = "replicate"
    made: str = "distributed"
    use: str = "alone"
    padding_idx: int | None = None
    scale_grad_by_freq: bool = False
    max_norm: float | None = None
    #: None, or which token is outside the table: "V" or "-1"
    out_of_range: str | None = None
    dtype: str = "float32"
    seed: int = 0


class DTensorCase(Axes, _ShardedAxes):  # type: ignore[misc]
    """A table and tokens, each in one piece or in pieces; what is computed from them does not depend on that."""

    @property
    def format(self) -> Format:
        """The number format of the table."""
        return FORMATS[self.dtype]

    @property
    def numel(self) -> int:
        """How many tokens there are."""
        return int(np.prod(self.shape))

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens; a stray is the last of them."""
        found = stream.below(stream.derive("tokens", self.seed), self.numel, self.num_embeddings).astype(np.int64)
        if self.out_of_range is not None:
            found[-1] = {"V": self.num_embeddings, "-1": -1}[self.out_of_range]
        return found.reshape(self.shape)

    @property
    def others(self) -> Tokens:
        """The tokens of a second lookup."""
        found: Tokens = (self.tokens + 1) % self.num_embeddings
        return found

    @cached_property
    def weight(self) -> Floats:
        """The table, small integers."""
        return stream.small("table", self.seed, (self.num_embeddings, self.embedding_dim))

    @cached_property
    def left(self) -> Floats:
        """The table after the lookup: rows that were looked up and are longer than max_norm are scaled."""
        if self.max_norm is None:
            return self.weight
        norms = np.sqrt((self.weight**2).sum(1, keepdims=True))
        scaled = self.weight * (self.max_norm / (norms + _EPSILON))
        met = np.isin(np.arange(self.num_embeddings), self.tokens)[:, None]
        return np.where(met & (norms > self.max_norm), scaled, self.weight)

    @property
    def slack(self) -> Floats:
        """By how much a renormed element may be off: γ(D + 8) of it, a norm of D terms and what follows; else not."""
        moved = (self.left != self.weight).any(1, keepdims=True)
        return np.where(moved, abs(self.left) * (self.embedding_dim + 8) * self.format.unit_roundoff, 0.0)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient, of the shape of what the use gives."""
        return stream.small("upstream", self.seed, self.used(self.left[self.tokens % self.num_embeddings]).shape)

    def inputs(self) -> dict[str, Input]:
        """What is fed."""
        fmt = self.format
        return {
            "table": Input(fmt.encode(self.weight), self.dtype),
            "tokens": Input(self.tokens, "int64"),
            "others": Input(self.others, "int64"),
            "upstream": Input(fmt.encode(self.upstream), self.dtype),
        }

    def used(self, rows: Floats) -> Any:
        """What the use makes of the rows that were looked up."""
        match self.use:
            case "transposed":
                return np.swapaxes(rows, 0, -1)
            case "stacked":
                return np.stack([rows, rows])
            case "summed":
                return rows.sum(0)
            case "chosen":
                return rows[0]
            case "flattened":
                return rows.reshape(-1)
            case "unsqueezed":
                return rows[None]
            case "added":
                return np.maximum(rows, 0) + abs(rows)
            case "another":
                return rows + self.left[self.others]
            case "projected":
                return rows @ self.left.T
        return rows

    def arriving(self, upstream: Floats) -> Any:
        """What arrives at the rows that were looked up: the adjoint of the use."""
        rows = self.left[self.tokens]
        match self.use:
            case "transposed":
                return np.swapaxes(upstream, 0, -1)
            case "stacked":
                return upstream[0] + upstream[1]
            case "summed":
                return np.broadcast_to(upstream, rows.shape)
            case "chosen":
                return np.concatenate([upstream[None], np.zeros_like(rows[1:])])
            case "flattened":
                return upstream.reshape(rows.shape)
            case "unsqueezed":
                return upstream[0]
            case "added":
                return upstream * ((rows > 0) + np.sign(rows))
            case "projected":
                return upstream @ self.left
        return upstream

    @cached_property
    def gradient(self) -> tuple[Floats, Floats]:
        """dW and its bound: each row's sum over its tokens of what arrives, and the head's part if there is one.

        Sums of integers are exact; where they are divided by how often a token occurs, each of n terms was divided
        and added: γ(n + 3) times the sum of their magnitudes.
        """
        arriving = self.arriving(self.upstream)
        total, size = self._scattered(self.tokens, arriving)
        if self.use == "another":
            total, size = (a + b for a, b in zip((total, size), self._scattered(self.others, arriving), strict=True))
        if self.use == "projected":
            rows = self.left[self.tokens].reshape(-1, self.embedding_dim)
            flat = self.upstream.reshape(-1, self.num_embeddings)
            total, size = total + flat.T @ rows, size + abs(flat).T @ abs(rows)
        return total, size * ((2 * self.numel + 3) * self.format.unit_roundoff if self.scale_grad_by_freq else 0.0)

    def _scattered(self, tokens: Tokens, arriving: Floats) -> tuple[Floats, Floats]:
        """What arrives at a lookup, sent to its rows, and the same of the magnitudes."""
        kept = tokens.reshape(-1)
        flat = arriving.reshape(-1, self.embedding_dim)
        if self.padding_idx is not None:
            counted = kept != self.padding_idx % self.num_embeddings
            kept, flat = kept[counted], flat[counted]
        counts = np.bincount(kept, minlength=self.num_embeddings) if self.scale_grad_by_freq else np.ones(1)
        total, size = (
            accumulate(kept, self.num_embeddings, given) / np.maximum(counts, 1)[:, None] for given in (flat, abs(flat))
        )
        return total, size

    @property
    def axis(self) -> int | None:
        """Along which axis of the tokens they are sharded."""
        return {"replicate": None, "first": 0, "last": len(self.shape) - 1}[self.tokens_placed]

    @property
    def torn(self) -> bool:
        """Whether a token occurs on two ranks: theirs are pieces of ⌈n / ranks⌉ each."""
        if self.axis is None:
            return False
        piece = -(-self.shape[self.axis] // self.ranks)
        owners = np.arange(self.shape[self.axis]) // max(piece, 1)
        places = np.moveaxis(np.broadcast_to(owners, np.moveaxis(self.tokens, self.axis, -1).shape), -1, self.axis)
        owned = {(int(token), int(owner)) for token, owner in zip(self.tokens.flat, places.flat, strict=True)}
        return len({token for token, _ in owned}) < len(owned)

    def facts(self) -> dict[str, Any]:
        """The axes and: several (ranks), rank (of the tokens), split (the table is in pieces), rows_split, padded, padding_hit,
        repeated, torn (a token occurs on two ranks), uneven (the pieces are of two sizes), rankless (a rank has no row,
        though there are as many rows as ranks: with fewer DTensor does not split them), renormed (a row is scaled),
        refused."""
        length = {"rows": self.num_embeddings, "columns": self.embedding_dim}.get(self.table, self.ranks)
        padding = None if self.padding_idx is None else self.padding_idx % self.num_embeddings
        return {
            **self.axes,
            "several": self.ranks > 1,
            "rank": len(self.shape),
            "split": self.ranks > 1 and self.table != "replicate",
            "rows_split": self.ranks > 1 and self.table == "rows",
            "tokens_split": self.ranks > 1 and self.tokens_placed != "replicate",
            "padded": padding is not None,
            "padding_hit": padding is not None and padding in self.tokens,
            "repeated": len(set(self.tokens.flat)) < self.numel,
            "torn": self.torn,
            "uneven": length % self.ranks != 0,
            "rankless": self.ranks <= length <= -(-length // self.ranks) * (self.ranks - 1),
            "renormed": self.out_of_range is None and bool((self.left != self.weight).any()),
            "refused": self.out_of_range is not None,
        }
