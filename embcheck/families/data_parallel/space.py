"""Which cases of data_parallel there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.data_parallel.cases import DataParallelCase
from embcheck.families.data_parallel.programs import SPREAD, parallel

_GRAPHS: dict[str, dict[str, bool]] = {
    "plain": {},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "buckets": {"gradient_as_bucket_view": True},
}


def plan(case: DataParallelCase) -> Plan:
    flags: dict[str, Any] = {"sparse": case.sparse, "padding_idx": case.padding_idx}
    options = {
        "spread": SPREAD[case.spread],
        "ranks": case.ranks,
        "head": case.head,
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
        "unused": case.unused,
        "further": _GRAPHS[case.graph],
        "steps": case.steps,
    }
    return Plan(parallel, case.inputs(), options)


def repair(case: DataParallelCase) -> DataParallelCase | None:
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
        fitted = repair(DataParallelCase(num_embeddings=3 + seed % 2, shape=(4,), seed=seed, **fixed))
        if fitted is not None:
            yield fitted


def fixed_cases() -> Iterator[DataParallelCase]:
    """What every profile runs: each way to spread, with what it takes."""
    for spread, head in itertools.product(SPREAD, ("own", "")):
        yield DataParallelCase(num_embeddings=4, shape=(4,), ranks=2, spread=spread, head=head, padding_idx=1, steps=2)
    yield DataParallelCase(ranks=2, steps=2)
    yield DataParallelCase(ranks=2, spread="fully_sharded", steps=2)
    yield DataParallelCase(head="", sparse=True, steps=2)
    yield DataParallelCase(head="own", unused="dense", graph="unused", steps=2)


def draw(draws: stream.Stream) -> DataParallelCase | None:
    """A random case."""
    drawn = {name: draws.choice(values) for name, values in AXES.items()}
    return repair(DataParallelCase(**drawn, seed=draws.between(0, 255)))


SPACE = Space(DataParallelCase, AXES, repair, scope, fixed_cases, flags=("ranks", "spread"), draw=draw, strength=1)
