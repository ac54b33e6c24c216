"""Tokens that come so often that a narrow format can't count them, as a case; knows no torch."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats

#: Calls that can give a sparse gradient.
SPARSE = ("lookup", "batch", "mean_of_each", "weighted", "one_bag")


class _AccumulationAxes(NamedTuple):
    """The axes, simplest value first."""

    #: how often each row is looked up
    counts: tuple[int, ...] = (300,)
    embedding_dim: int = 1
    call: str = "lookup"
    sparse: bool = False
    #: whether the tokens take turns, or each one's come together
    mixed: bool = False
    dtype: str = "bfloat16"
    index_dtype: str = "int64"


class AccumulationCase(Axes, _AccumulationAxes):  # type: ignore[misc]
    """A table whose rows are looked up so often, each token sending ones."""

    @property
    def gradient(self) -> Floats:
        """Each row's number of tokens, rounded to the format, in every column."""
        fmt = FORMATS[self.dtype]
        counted = fmt.decode(fmt.encode(np.array(self.counts, np.float64)))
        return np.repeat(counted[:, None], self.embedding_dim, axis=1)

    @property
    def stops(self) -> bool:
        """Whether one and one more, each sum rounded to the format, give another number than a count."""
        most = FORMATS[self.dtype].largest_integer  # to which one can't be added
        return bool((np.minimum(self.counts, most) != self.gradient[:, 0]).any()) if self.embedding_dim else False

    def inputs(self) -> dict[str, Input]:
        """The tokens and a table of ones."""
        rows = len(self.counts)
        tokens = np.repeat(np.arange(rows), self.counts)
        if self.mixed:  # the rounds in which each row has its turn, as long as it has any
            turns = np.concatenate([np.arange(count) for count in self.counts])
            tokens = tokens[np.argsort(turns, kind="stable")]
        table = FORMATS[self.dtype].encode(np.ones((rows, self.embedding_dim)))
        return {
            "tokens": Input(tokens.astype(self.index_dtype), self.index_dtype),
            "weight": Input(table, self.dtype),
        }

    def facts(self) -> dict[str, Any]:
        """The axes and: largest (the largest count), several (rows of unequal counts), stops, half."""
        return {
            **{name: value for name, value in self.axes.items() if name != "counts"},
            "largest": max(self.counts),
            "several": len(set(self.counts)) > 1,
            "stops": self.stops,
            "half": self.dtype in ("float16", "bfloat16"),
        }
