"""A Parameter that is made of a tensor, as a case; knows no torch."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.case import LookupCase
from embcheck.core.format import FORMATS, Array, Floats, Format
from embcheck.core.layout import view_of

#: Shapes of every rank, axes of length 1 and 0 among them.
SHAPES: tuple[tuple[int, ...], ...] = (
    (2, 3), (), (1,), (3,), (0,), (3, 1), (1, 3), (2, 2), (0, 2), (2, 0), (1, 1), (2, 1, 3), (2, 3, 2), (2, 0, 3),
    (2, 1, 2, 3), (65, 2),
)  # fmt: skip


class _LeafAxes(NamedTuple):
    """The axes, simplest value first."""

    shape: tuple[int, ...] = (2, 3)
    origin: str = "plain"
    make: str = "keyword"
    requires_grad: bool = True
    under: str = "enabled"
    times: int = 1
    #: how it is put into a module, under which name, and what was there
    place: str = "assigned"
    owner: str = "bare"
    slot: str = "weight"
    before: str = "none"
    evaluating: bool = False
    dtype: str = "float32"
    layout: str = "contiguous"
    values: str = "small"
    #: what is attempted in its stead, where that must be refused
    wrong: str | None = None
    seed: int = 0


class ParameterCase(Axes, _LeafAxes):  # type: ignore[misc]
    """A Parameter of a tensor of ``shape``."""

    @property
    def format(self) -> Format:
        """The number format."""
        return FORMATS[self.dtype]

    @cached_property
    def stored(self) -> Array:
        """The elements in storage."""
        size = math.prod(self.shape)
        made = LookupCase(max(size, 1), 1, values=self.values, dtype=self.dtype, seed=self.seed).weight_stored[:size]
        if self.layout == "expanded" and size:
            made = np.broadcast_to(made[:1], made.shape)
        return np.ascontiguousarray(made).reshape(self.shape)

    @property
    def number(self) -> Floats:
        """The elements as numbers."""
        return self.format.decode(self.stored)

    @property
    def strides(self) -> tuple[int, ...]:
        """The strides of the tensor, in elements."""
        return view_of(self.shape, self.layout).strides

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient: 1, 2, 3, 1, …"""
        counting: Floats = 1 + np.arange(math.prod(self.shape), dtype=np.float64) % 3
        return counting.reshape(self.shape)

    @property
    def names(self) -> list[str]:
        """The module's parameters afterwards: a slot keeps its place unless it was deleted or is new."""
        moved = self.before in ("absent", "a_module", "a_buffer", "a_number") or self.place == "deleted_first"
        return ["first", "last", self.slot] if moved else ["first", self.slot, "last"]

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed."""
        upstream = Input(self.format.encode(self.upstream), self.dtype)
        return {"data": Input(self.stored, self.dtype, self.layout), "upstream": upstream}

    def facts(self) -> dict[str, Any]:
        """The axes and: rank, empty, refused, elements."""
        size = math.prod(self.shape)
        return {
            **self.axes,
            "rank": len(self.shape),
            "empty": not size,
            "elements": size,
            "refused": self.wrong is not None,
        }
