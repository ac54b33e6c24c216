"""The case of a lookup in a table of any dtype and origin: every bit pattern is a value.  Knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.case import Ints
from embcheck.core.format import STORAGE, Array
from embcheck.core.pattern import PATTERNS

#: The dtypes of indices that are accepted.
INDEX_DTYPES = ("int64", "int32")


class _StorageAxes(NamedTuple):
    """The axes of a lookup in a table of any dtype and origin, simplest value first."""

    num_embeddings: int
    embedding_dim: int
    dtype: str = "int64"
    indices: str = "cycle"
    shape: tuple[int, ...] = (3,)
    index_dtype: str = "int64"
    origin: str = "plain"
    layout: str = "contiguous"
    #: the name of a table that has no two axes
    misshapen: str | None = None
    seed: int = 0


class StorageCase(Axes, _StorageAxes):  # type: ignore[misc]
    """A lookup in a table whose elements are bytes."""

    @property
    def numel(self) -> int:
        """How many tokens are looked up."""
        return math.prod(self.shape)

    @cached_property
    def tokens(self) -> Ints:
        """The tokens, shape ``(numel,)``."""
        return PATTERNS[self.indices](self.numel, self.num_embeddings, None, self.seed)

    @cached_property
    def stored(self) -> Array:
        """The table in storage, shape ``(num_embeddings, embedding_dim)``: seeded bytes, so that NaNs with payloads,
        subnormals and negative zeros are among them; bools are 0 or 1."""
        kind = np.dtype(STORAGE[self.dtype])
        size = self.num_embeddings * self.embedding_dim
        words = stream.words(stream.derive("storage", self.dtype, self.seed % 16), 2 * size + 2).view(np.uint8)
        if kind == np.bool_:
            return (words[:size] & 1).astype(np.bool_).reshape(self.num_embeddings, self.embedding_dim)
        content = words[: size * kind.itemsize].view(kind)
        if self.dtype == "complex32":
            content = content & kind.type(
                0x3FFF_3FFF
            )  # no NaN: half precision is negated by way of float32, which alters it
        return content.reshape(self.num_embeddings, self.embedding_dim)

    @property
    def complex(self) -> bool:
        """Whether the table's elements are complex."""
        return self.dtype.startswith("complex")

    @property
    def refused(self) -> bool:
        """Whether the lookup must raise: an index dtype or a table that is none."""
        return self.index_dtype not in INDEX_DTYPES or self.misshapen is not None

    @property
    def taller(self) -> int:
        """What is added to each token where the given rows are the last of a large table."""
        if self.origin == "tall":
            return 2**31
        if self.origin != "mapped_tall":
            return 0
        return 2**31 // (np.dtype(STORAGE[self.dtype]).itemsize * self.embedding_dim) + 5

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed: weight and indices."""
        stored = self.tokens.reshape(self.shape).astype(STORAGE[self.index_dtype])
        weight = Input(self.stored, self.dtype, self.layout)
        return {"weight": weight, "indices": Input(stored, self.index_dtype)}

    @property
    def expected(self) -> npt.NDArray[np.uint8]:
        """The bytes of the rows that are looked up, shape ``(*shape, embedding_dim · bytes)``."""
        table = ORIGIN_OF[self.origin](self.stored) if self.origin in ORIGIN_OF else self.stored
        rows = np.ascontiguousarray(table[self.tokens])
        width = rows.dtype.itemsize * self.embedding_dim
        return rows.view(np.uint8).reshape(*self.shape, width)

    def facts(self) -> dict[str, Any]:
        """The axes and: numel, rank, refused, complex, float8, empty, zero_width, last_row."""
        return {
            **self.axes,
            "numel": self.numel,
            "rank": len(self.shape),
            "refused": self.refused,
            "complex": self.complex,
            "float8": self.dtype.startswith("float8"),
            "empty": self.numel == 0,
            "zero_width": self.embedding_dim == 0,
            "last_row": bool((self.tokens == self.num_embeddings - 1).any()),
        }


# -- what an origin makes of the elements --------------------------------------------------------------------------------


def _halves(stored: Array) -> Array:
    """The real and imaginary parts along a new last axis, as unsigned integers."""
    kind = np.dtype(f"u{stored.dtype.itemsize // 2}")
    return np.ascontiguousarray(stored).view(kind).reshape(*stored.shape, 2)


def _flipped(part: Any) -> Array:
    """With the sign bit changed."""
    bits: npt.NDArray[np.unsignedinteger[Any]] = part
    flipped: Array = bits ^ bits.dtype.type(1 << (8 * bits.dtype.itemsize - 1))
    return flipped


def _conjugate(stored: Array) -> Array:
    halves = _halves(stored).copy()
    halves[..., 1] = _flipped(halves[..., 1])
    whole: Array = halves.reshape(*stored.shape[:-1], 2 * stored.shape[-1]).view(stored.dtype).reshape(stored.shape)
    return whole


def _overlapping(stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
    rows, width = stored.shape
    windows: npt.NDArray[Any] = stored.reshape(-1)[np.arange(rows)[:, None] + np.arange(width)[None, :]]
    return windows


ORIGIN_OF: dict[str, Callable[[Array], Array]] = {
    "tall": lambda stored: np.repeat(stored[:1], len(stored), axis=0),
    "overlapping": _overlapping,
    "conjugate": _conjugate,
    "real_part": lambda stored: _halves(stored)[..., 0],
    "negated_imaginary": lambda stored: _flipped(_halves(stored)[..., 1]),
}
#: Origins that only complex tables have.
OF_COMPLEX = ("conjugate", "real_part", "negated_imaginary")
