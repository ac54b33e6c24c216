"""A call whose memory and operations are counted, as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.case import LookupCase
from embcheck.core.format import Array, Format

#: What is called: lookups, bags, and the matrix that a lookup spares.
LOOKUPS = ("functional", "module")
BAGS = ("bag_sum", "bag_mean", "bag_max", "bag_weighted", "bag_module")
CALLS = (*LOOKUPS, *BAGS, "one_hot")


class _CostAxes(NamedTuple):
    """The axes of a counted call, simplest value first."""

    call: str = "functional"
    num_embeddings: int = 3
    embedding_dim: int = 2
    numel: int = 4
    bags: int = 1
    dtype: str = "float32"
    index_dtype: str = "int64"
    padding_idx: int | None = None
    sparse: bool = False
    scale_grad_by_freq: bool = False
    indices: str = "uniform"
    seed: int = 0


class ComplexityCase(Axes, _CostAxes):  # type: ignore[misc]
    """A call on ``numel`` tokens, in up to ``bags`` bags of equal length where it reduces."""

    @property
    def table(self) -> LookupCase:
        """The table and the tokens."""
        return LookupCase(self.num_embeddings, self.embedding_dim, self.indices, (self.numel,), self.padding_idx,
                    dtype=self.dtype, index_dtype=self.index_dtype, seed=self.seed)  # fmt: skip

    @property
    def format(self) -> Format:
        """The number format of the table."""
        return self.table.format

    @property
    def reduces(self) -> bool:
        """Whether the call reduces bags."""
        return self.call in BAGS

    @property
    def rows(self) -> int:
        """How many rows come out: tokens, or bags."""
        return len(self.offsets) if self.reduces else self.numel

    @property
    def offsets(self) -> Array:
        """Where the bags begin, shape ``(rows,)``."""
        each = max(1, -(-self.numel // max(self.bags, 1)))
        return np.arange(0, max(self.numel, 1), each, dtype=self.index_dtype)

    @property
    def element(self) -> int:
        """Bytes of one element of the table."""
        return int(self.format.storage.itemsize)

    @property
    def output(self) -> int:
        """Bytes of what comes out."""
        return self.rows * self.embedding_dim * self.element

    @property
    def looked_up(self) -> int:
        """Bytes of the rows of all tokens."""
        return self.numel * self.embedding_dim * self.element

    @property
    def whole(self) -> int:
        """Bytes of the table."""
        return self.num_embeddings * self.embedding_dim * self.element

    def inputs(self) -> dict[str, Input]:
        """What is fed: weight, indices, upstream, and for bags offsets."""
        table = self.table
        upstream = Input(self.format.encode(np.ones((self.rows, self.embedding_dim))), self.dtype)
        fed = {"weight": table.weight_input, "indices": table.index_input, "upstream": upstream}
        return fed | ({"offsets": Input(self.offsets, self.index_dtype)} if self.reduces else {})

    def facts(self) -> dict[str, Any]:
        """The axes and: reduces, wide (a row takes more memory than what is kept for a token), tall (a table takes more
        than everything else), many."""
        return {
            **self.axes,
            "reduces": self.reduces,
            "wide": self.embedding_dim * self.element >= 256 and self.numel >= 8 * self.rows,
            "tall": self.whole >= 8 * (self.looked_up + 64 * self.numel + 256),
            "many": self.numel >= 256,
        }
