"""The case of a lookup in a table of any dtype and origin: every bit pattern is a value.  Knows no torch."""

from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfTokens
from embcheck.core.case import Ints
from embcheck.core.format import STORAGE, Array
from embcheck.core.pattern import PATTERNS

#: The dtypes of indices that are accepted.
INDEX_DTYPES = ("int64", "int32")
#: The dtypes of integers in which matrices are multiplied.
MULTIPLIED = ("uint8", "int8", "int16", "int32", "int64")


class StorageCase(OfTokens):
    """A lookup in a table whose elements are bytes."""

    num_embeddings: int
    embedding_dim: int
    dtype: str = "int64"
    indices: str = "cycle"
    shape: tuple[int, ...] = (3,)
    index_dtype: str = "int64"
    origin: str = "plain"
    layout: str = "contiguous"
    seed: int = 0

    @cached_property
    def tokens(self) -> Ints:
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
        return content.reshape(self.num_embeddings, self.embedding_dim)

    @property
    def multiplied(self) -> bool:
        """Whether one_hot(i) is multiplied with the table, too."""
        return self.dtype in MULTIPLIED and self.num_embeddings > 0 and self.origin in ("plain", "shared")

    @property
    def taller(self) -> int:
        """What is added to each token where the given rows are the last of a large table."""
        if self.origin == "tall":
            return 2**31
        if self.origin != "mapped_tall":
            return 0
        return 2**31 // (np.dtype(STORAGE[self.dtype]).itemsize * self.embedding_dim) + 5

    def inputs(self) -> dict[str, Input]:
        stored = self.tokens.reshape(self.shape).astype(STORAGE[self.index_dtype])
        weight = Input(self.stored, self.dtype, self.layout)
        return {"weight": weight, "indices": Input(stored, self.index_dtype)}

    @property
    def expected(self) -> npt.NDArray[np.uint8]:
        """The bytes of the rows that are looked up, shape ``(*shape, embedding_dim · bytes)``."""
        table = self.stored[:1].repeat(len(self.stored), axis=0) if self.origin == "tall" else self.stored
        rows = np.ascontiguousarray(table[self.tokens])
        width = rows.dtype.itemsize * self.embedding_dim
        return rows.view(np.uint8).reshape(*self.shape, width)

    def facts(self) -> dict[str, Any]:
        return {
            **self.axes,
            "numel": self.numel,
            "rank": len(self.shape),
            "multiplied": self.multiplied,
            "complex": self.dtype.startswith("complex"),
            "float8": self.dtype.startswith("float8"),
            "empty": self.numel == 0,
            "zero_width": self.embedding_dim == 0,
            "last_row": bool((self.tokens == self.num_embeddings - 1).any()),
        }
