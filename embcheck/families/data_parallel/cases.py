"""A model with a tied head on several processes, as a case."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats
from embcheck.core.law import Plan
from embcheck.core.oracle import accumulate
from embcheck.core.space import Space
from embcheck.families.data_parallel.programs import SPREAD, parallel

Tokens = npt.NDArray[np.int64]


class _DataParallelAxes(NamedTuple):
    num_embeddings: int = 3
    embedding_dim: int = 2
    shape: tuple[int, ...] = (2,)
    #: how many processes there are
    ranks: int = 1
    #: how the model is spread over them
    spread: str = "data_parallel"
    #: the head's weight: the table's ("tied"), its "own", or there is no head ("")
    head: str = "tied"
    sparse: bool = False
    padding_idx: int | None = None
    #: whether there is another table, which is not looked up, and what gradients it has: "", "dense" or "sparse"
    unused: str = ""
    #: what data parallelism knows of the graph: "plain", "unused" (there may be such parameters) or "static"
    graph: str = "plain"
    steps: int = 1
    dtype: str = "float32"
    seed: int = 0


class DataParallelCase(Axes, _DataParallelAxes):  # type: ignore[misc]
    """A model that all ranks train with the same tokens: what it learns does not depend on how many they are."""

    @cached_property
    def tokens(self) -> Tokens:
        """The tokens of every rank."""
        count = int(np.prod(self.shape))
        found = stream.below(stream.derive("tokens", self.seed), count, self.num_embeddings).astype(np.int64)
        return found.reshape(self.shape)

    @cached_property
    def table(self) -> Floats:
        """The table, small integers."""
        return stream.small("table", self.seed, (self.num_embeddings, self.embedding_dim), 2)

    @cached_property
    def other(self) -> Floats:
        """The weight of a head of its own, and of the table that is not looked up."""
        return stream.small("other", self.seed, (self.num_embeddings, self.embedding_dim), 2)

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient."""
        width = self.num_embeddings if self.head else self.embedding_dim
        return stream.small("upstream", self.seed, (*self.shape, width), 2)

    def inputs(self) -> dict[str, Input]:
        fmt = FORMATS[self.dtype]
        return {
            "table": Input(fmt.encode(self.table), self.dtype),
            "other": Input(fmt.encode(self.other), self.dtype),
            "tokens": Input(self.tokens, "int64"),
            "upstream": Input(fmt.encode(self.upstream), self.dtype),
        }

    @cached_property
    def course(self) -> tuple[list[Floats], list[Floats]]:
        """The values of each step, and the weights after the last: halves of small integers, which are exact."""
        words = self.table.copy()
        head = words if self.head == "tied" else self.other.copy()
        values = []
        for _ in range(self.steps):
            rows = words[self.tokens]
            values.append(rows @ head.T if self.head else rows)
            arriving = self.upstream @ head if self.head else self.upstream
            kept, flat = self.tokens.reshape(-1), arriving.reshape(-1, self.embedding_dim)
            if self.padding_idx is not None:
                counted = kept != self.padding_idx
                kept, flat = kept[counted], flat[counted]
            to_words = accumulate(kept, self.num_embeddings, flat)
            to_head = self.upstream.reshape(-1, self.upstream.shape[-1]).T @ rows.reshape(-1, self.embedding_dim)
            if self.head == "tied":
                words -= (to_words + to_head) / 2
            else:
                words -= to_words / 2
                if self.head:
                    head -= to_head / 2
        return values, [words, *([head] if self.head else [])]

    @property
    def parameters(self) -> int:
        """How many parameters the model has."""
        return 1 + (self.head == "own") + bool(self.unused)

    def facts(self) -> dict[str, Any]:
        """The axes and: several (ranks), padded, padding_hit, repeated, sparse_and_tied."""
        return {
            **self.axes,
            "several": self.ranks > 1,
            "padded": self.padding_idx is not None,
            "padding_hit": self.padding_idx is not None and self.padding_idx in self.tokens,
            "repeated": len(set(self.tokens.flat)) < self.tokens.size,
            "sparse_and_tied": self.sparse and self.head == "tied",
        }


_GRAPHS: dict[str, dict[str, bool]] = {
    "plain": {},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "buckets": {"gradient_as_bucket_view": True},
}


def plan(case: DataParallelCase) -> Plan:
    flags: dict[str, Any] = {"sparse": case.sparse, "padding_idx": case.padding_idx}
    flags = {name: value for name, value in flags.items() if value is not None and value is not False}
    options = {
        "spread": SPREAD[case.spread],
        "ranks": case.ranks,
        "parts": {"head": case.head, "flags": flags, "unused": case.unused},
        "further": _GRAPHS[case.graph],
        "steps": case.steps,
    }
    return Plan(parallel, case.inputs(), options)


def repair(case: DataParallelCase) -> DataParallelCase:
    """The case with what fits: only data parallelism takes sparse gradients, and knows of graphs; each rank has a piece."""
    changes: dict[str, Any] = {}
    if case.spread == "parallelized":
        changes["num_embeddings"] = max(case.num_embeddings, case.ranks)
    if case.spread != "data_parallel":
        changes |= {"sparse": False, "graph": "plain", "unused": ""}
    elif case.unused and case.graph not in ("unused", "static"):
        changes["graph"] = "unused"
    if case.padding_idx is not None:
        changes["padding_idx"] = min(case.padding_idx, case.num_embeddings - 1)
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 4, 1, 5),
    "embedding_dim": (2, 1, 4),
    "shape": ((2,), (4,), (2, 2), (1,)),
    "ranks": (1, 2),
    "spread": tuple(SPREAD),
    "head": ("tied", "own", ""),
    "sparse": (False, True),
    "padding_idx": (None, 0, 1),
    "unused": ("", "dense", "sparse"),
    "graph": tuple(_GRAPHS),
    "steps": (1, 2),
    "dtype": ("float32", "float64"),
}


def scope() -> Iterator[DataParallelCase]:
    """Every way to spread with every head; every graph with every gradient."""
    chosen: list[dict[str, Any]] = [
        {"spread": spread, "head": head, "ranks": ranks, "steps": 2}
        for spread, head, ranks in itertools.product(SPREAD, AXES["head"], AXES["ranks"])
    ]
    chosen += [
        {"graph": graph, "head": head, "sparse": sparse, "unused": unused, "steps": 2, "ranks": 1 + (graph == "static")}
        for graph, head, sparse, unused in itertools.product(
            _GRAPHS, ("own", "tied", ""), (False, True), AXES["unused"]
        )
    ]
    for seed, fixed in enumerate(chosen):
        yield repair(DataParallelCase(num_embeddings=3 + seed % 2, shape=(4,), seed=seed, **fixed))


def fixed_cases() -> Iterator[DataParallelCase]:
    """What every profile runs: each way to spread, with what it takes."""
    for spread in SPREAD:
        yield DataParallelCase(num_embeddings=4, shape=(4,), ranks=2, spread=spread, head="own", padding_idx=1, steps=2)
    yield DataParallelCase(ranks=2, steps=2)
    yield DataParallelCase(ranks=2, spread="fully_sharded", steps=2)
    yield DataParallelCase(head="", sparse=True, steps=2)
    yield DataParallelCase(head="own", unused="dense", graph="unused", steps=2)


SPACE = Space(DataParallelCase, AXES, repair, scope, fixed_cases, flags=("ranks", "spread"), strength=1)
