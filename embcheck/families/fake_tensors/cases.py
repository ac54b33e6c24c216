"""A call with fake tensors as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS


class _ShadowAxes(NamedTuple):
    """The axes, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    #: how many tokens each bag has
    lengths: tuple[int, ...] = (2, 2)
    call: str = "lookup"
    mode: str = "sum"
    include_last_offset: bool = False
    padding_idx: int | None = None
    learns: bool = False
    dtype: str = "float32"
    index_dtype: str = "int64"
    layout: str = "contiguous"
    seed: int = 0


class FakeTensorCase(Axes, _ShadowAxes):  # type: ignore[misc]
    """Bags of tokens of a table; what comes out of a call has some sizes and dtypes."""

    @property
    def flags(self) -> dict[str, Any]:
        """The flags of the call."""
        return {"mode": self.mode, "include_last_offset": self.include_last_offset, "padding_idx": self.padding_idx}

    def inputs(self) -> dict[str, Input]:
        """What is fed: numbers that play no part."""
        fmt = FORMATS[self.dtype]
        tokens = stream.below(stream.derive("tokens", self.seed), sum(self.lengths), self.num_embeddings)
        ends = np.cumsum([0, *self.lengths])
        offsets = ends if self.include_last_offset else ends[:-1]
        table = np.ones((self.num_embeddings, self.embedding_dim))
        return {
            "table": Input(fmt.encode(table), self.dtype, self.layout),
            "tokens": Input(tokens.astype(self.index_dtype), self.index_dtype),
            "offsets": Input(offsets.astype(self.index_dtype), self.index_dtype),
        }

    def facts(self) -> dict[str, Any]:
        """The axes and: empty_bag, single (there is one bag), padded."""
        return {
            **{name: value for name, value in self.axes.items() if name != "lengths"},
            "empty_bag": 0 in self.lengths,
            "padded": self.padding_idx is not None,
            "single": len(self.lengths) == 1,
        }
