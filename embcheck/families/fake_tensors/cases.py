"""Calls with fake and meta tensors: the cases, and the program that runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.fake_tensors.programs import CALLS, metadata


class _FakeTensorAxes(NamedTuple):
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


class FakeTensorCase(Axes, _FakeTensorAxes):  # type: ignore[misc]
    """Bags of tokens of a table; the output of a call has some shapes and dtypes."""

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
        return {
            "table": Input(fmt.encode(np.ones((self.num_embeddings, self.embedding_dim))), self.dtype, self.layout),
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


def plan(case: FakeTensorCase) -> Plan:
    return Plan(metadata, case.inputs(), {"call": CALLS[case.call], "flags": case.flags, "learns": case.learns})


def repair(case: FakeTensorCase) -> FakeTensorCase:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.call == "learnt":
        changes["learns"] = True
    if case.call in ("lookup", "projected"):
        changes |= {"include_last_offset": False, "mode": "sum"}
    if case.call == "projected":
        changes["padding_idx"] = None
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5),
    "embedding_dim": (2, 1, 4, 8),
    "lengths": ((2, 2), (1,), (0, 3), (2, 0, 1), (4,), (1, 1, 1)),
    "call": tuple(CALLS),
    "mode": ("sum", "mean", "max"),
    "include_last_offset": (False, True),
    "padding_idx": (None, 0, -1),
    "learns": (False, True),
    "dtype": ("float32", "float64", "float16", "bfloat16"),
    "index_dtype": ("int64", "int32"),
    "layout": ("contiguous", "transposed"),
}


def scope() -> Iterator[FakeTensorCase]:
    """Every call in every mode with every flag; every bag."""
    names = ("call", "mode", "include_last_offset", "padding_idx", "learns", "dtype")
    cases = (
        FakeTensorCase(
            lengths=lengths, index_dtype=AXES["index_dtype"][seed % 2], layout=AXES["layout"][seed % 3 == 2]
        ).but(**dict(zip(names, chosen, strict=True)))
        for seed, chosen in enumerate(itertools.product(*(AXES[name] for name in names)))
        for lengths in (AXES["lengths"][0], AXES["lengths"][1 + seed % 5])
    )
    return iter(dict.fromkeys(map(repair, cases)))


SPACE = Space(FakeTensorCase, AXES, repair, scope, flags=("call", "mode", "include_last_offset", "learns"), strength=2)
