"""Parallel: a model with a tied head learns on several processes, in copies or in pieces, what it learns on one."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from embcheck import stream
from embcheck.comparison import every, same
from embcheck.law import Family, Plan
from embcheck.lookup.parallel import SPREAD, parallel
from embcheck.lookup.parallel_case import Parallel
from embcheck.lookup.ranks import no_ranks, unmade
from embcheck.outcome import Outcome
from embcheck.result import Finding
from embcheck.space import Space

_GRAPHS: dict[str, dict[str, bool]] = {
    "plain": {},
    "unused": {"find_unused_parameters": True},
    "static": {"static_graph": True},
    "buckets": {"gradient_as_bucket_view": True},
}


def plan(case: Parallel) -> Plan:
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


def canonical(case: Parallel) -> Parallel | None:
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


def scope() -> Iterator[Parallel]:
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
        fitted = canonical(Parallel(num_embeddings=3 + seed % 2, shape=(4,), seed=seed, **fixed))
        if fitted is not None:
            yield fitted


def landmarks() -> Iterator[Parallel]:
    """What every profile runs: each way to spread, with what it takes."""
    for spread, head in itertools.product(SPREAD, ("own", "")):
        yield Parallel(num_embeddings=4, shape=(4,), ranks=2, spread=spread, head=head, padding_idx=1, steps=2)
    yield Parallel(ranks=2, steps=2)
    yield Parallel(ranks=2, spread="fully_sharded", steps=2)
    yield Parallel(head="", sparse=True, steps=2)
    yield Parallel(head="own", unused="dense", graph="unused", steps=2)


def draw(draws: stream.Stream) -> Parallel | None:
    """A random case."""
    drawn = {name: draws.choice(values) for name, values in AXES.items()}
    return canonical(Parallel(**drawn, seed=draws.between(0, 255)))


family = Family(
    "parallel",
    Space(Parallel, AXES, canonical, scope, landmarks, flags=("ranks", "spread"), draw=draw, strength=1),
    plan,
    cost=800.0,
    forks=True,
    stride=3,
    not_applicable=no_ranks,
    untaken=unmade,
)
law = family.law


@law(
    "A model that is spread over processes computes and learns what it does on one; a tied weight from both of its paths.",
    source="DistributedDataParallel; fully_shard; torch.distributed.tensor: the semantics of a single device; the chain rule",
    obliges={"several", "head=tied", "head=own", "sparse", "padding_hit", "repeated", "unused=dense", "steps=2"}
    | {f"spread={name}" for name in SPREAD},
)
def spread_models_learn_as_one(case: Parallel, out: Outcome) -> Finding:
    values, weights = case.course
    return every(same(out.values, np.array([values] * case.ranks)), same(out.learnt, np.array([weights] * case.ranks)))


@law(
    "A tied weight is one Parameter before a model is spread over processes, and after, and after each step.",
    source="torch.nn.Module.__setattr__; DistributedDataParallel and fully_shard keep shared parameters",
    obliges={"several", "head=tied", "head=own", "spread=fully_sharded"},
)
def spread_models_stay_tied(case: Parallel, out: Outcome) -> Finding:
    tied = case.head == "tied"
    return every(
        same(out.ties, [[tied, tied]] * case.ranks), same(out.counts, [[case.parameters, case.parameters]] * case.ranks)
    )


test_scope, test_product, test_random = family.tests()
