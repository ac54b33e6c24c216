"""Calls whose memory and operations are counted: the cases that there are, and their program."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Array, Format
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.complexity.programs import CALLED, measure
from embcheck.families.lookup.cases import padding_of

#: What is called: lookups, bags, and the matrix that a lookup spares.
LOOKUPS = ("functional",)
BAGS = ("bag_sum", "bag_mean", "bag_max")
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
    seed: int = 0


class ComplexityCase(Axes, _CostAxes):  # type: ignore[misc]
    """A call on ``numel`` tokens, in up to ``bags`` bags of equal length where it reduces."""

    @property
    def table(self) -> LookupCase:
        """The table and the tokens."""
        sizes = self.num_embeddings, self.embedding_dim, "uniform", (self.numel,), self.padding_idx
        return LookupCase(*sizes, dtype=self.dtype, index_dtype=self.index_dtype, seed=self.seed)

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


def plan(case: ComplexityCase) -> Plan:
    flags: dict[str, Any] = {}
    if case.call != "one_hot":
        flags = {"sparse": case.sparse, "scale_grad_by_freq": case.scale_grad_by_freq, "padding_idx": case.padding_idx}
    return Plan(measure, case.inputs(), {"call": CALLED[case.call], "flags": flags})


def repair(case: ComplexityCase) -> ComplexityCase:
    """The case with flags that its call takes together."""
    if case.call == "one_hot":
        return case.but(padding_idx=None, sparse=False, scale_grad_by_freq=False, index_dtype="int64", embedding_dim=2)
    sparse = case.sparse and case.call != "bag_max"
    scaled = case.scale_grad_by_freq and not sparse and case.call != "bag_max"
    padding = padding_of(case.padding_idx, case.num_embeddings)
    return case.but(padding_idx=padding, sparse=sparse, scale_grad_by_freq=scaled)


def fixed_cases() -> Iterator[ComplexityCase]:
    """Rows of more memory than a token's bookkeeping, tables of more than all tokens' rows, and many tokens."""
    sizes = ((5, 129, 257, 2), (4097, 16, 9, 3), (65, 64, 257, 4), (1001, 129, 129, 9))
    flags = ((None, False, False), (-1, True, False), (None, False, True))
    chosen = itertools.product(CALLS, sizes, flags)
    for seed, (call, (rows, width, numel, bags), (padding, sparse, scale)) in enumerate(chosen):
        dtypes = tuple(FORMATS)[(seed + seed // 4) % 4], ("int64", "int32")[seed % 2]
        yield ComplexityCase(call, rows, width, numel, bags, *dtypes, padding, sparse, scale, seed=seed)


AXES = {
    "call": CALLS,
    "num_embeddings": (3, 1, 65, 1001, 4097),
    "embedding_dim": (2, 0, 1, 16, 64, 129),
    "numel": (4, 0, 1, 33, 65, 257),
    "bags": (1, 2, 7),
    "dtype": tuple(FORMATS),
    "index_dtype": ("int64", "int32"),
    "padding_idx": (None, 0, -1),
    "sparse": (False, True),
    "scale_grad_by_freq": (False, True),
}
SPACE = Space(ComplexityCase, AXES, repair, fixed_cases=fixed_cases, strength=2)
