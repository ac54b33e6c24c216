"""Which cases of nested_tensor there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core import stream
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.nested_tensor.cases import NestedTensorCase
from embcheck.families.nested_tensor.programs import MADE, alike, nested

LENGTHS = ((2, 1), (1,), (0,), (3, 0, 2), (0, 4), (1, 1, 1), (4, 2, 0), (17, 3, 8), (0, 0))


def plan(case: NestedTensorCase) -> Plan:
    flags = {name: getattr(case, name) for name in ("padding_idx", "sparse", "scale_grad_by_freq")}
    options = {
        "make": MADE[case.made],
        "alike": alike,
        "lengths": case.lengths,
        "columns": case.columns,
        "reduced": case.reduced,
        "module": case.module,
        "flags": {name: value for name, value in flags.items() if value is not None and value is not False},
    }
    return Plan(nested, case.inputs(), options)


def repair(case: NestedTensorCase) -> NestedTensorCase | None:
    """The case with flags that fit what is done: a lookup takes no holes, a bag has no counts, a maximum is not sparse."""
    changes: dict[str, Any] = {}
    if case.reduced == "lookup":
        changes |= {"made": "from_offsets"} if case.made in ("holes", "narrowed") else {}
    else:
        changes["columns"] = 0
    if case.reduced != "sum":
        changes["weighted"] = False
    if case.reduced != "lookup" or case.sparse:
        changes["scale_grad_by_freq"] = False
    if case.reduced == "max":
        changes["sparse"] = False
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.padding_idx is not None:
        changes["padding_idx"] = max(-case.num_embeddings, min(case.padding_idx, case.num_embeddings - 1))
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 5, 300),
    "embedding_dim": (2, 1, 8, 17),
    "lengths": LENGTHS,
    "columns": (0, 2, 1),
    "reduced": ("lookup", "sum", "mean", "max"),
    "made": tuple(MADE),
    "module": (False, True),
    "padding_idx": (None, 0, -1, 2),
    "sparse": (False, True),
    "scale_grad_by_freq": (False, True),
    "weighted": (False, True),
    "dtype": ("float32", "float64"),
    "index_dtype": ("int64", "int32"),
    "layout": LAYOUTS,
}


def scope() -> Iterator[NestedTensorCase]:
    """Every way to make a nested tensor, of every lengths, for every reduction with each of its flags."""
    flags: tuple[dict[str, Any], ...] = (
        {}, {"padding_idx": 0}, {"sparse": True}, {"scale_grad_by_freq": True}, {"weighted": True},
        {"padding_idx": -1, "sparse": True}, {"weighted": True, "padding_idx": 1},
    )  # fmt: skip
    combinations = itertools.product(AXES["reduced"], MADE, LENGTHS, flags)
    for seed, (reduced, made, lengths, fixed) in enumerate(combinations):
        fitted = repair(
            NestedTensorCase(lengths=lengths, reduced=reduced, made=made, module=seed % 2 == 0, seed=seed, **fixed)
        )
        if fitted is not None:
            yield fitted


def draw(draws: stream.Stream) -> NestedTensorCase | None:
    """A random case: each axis at any value, of components of random lengths now and then."""
    chosen = {name: draws.choice(values) for name, values in AXES.items()}
    if draws.chance(2):
        chosen["lengths"] = tuple(draws.between(0, 9) for _ in range(draws.between(1, 6)))
    return repair(NestedTensorCase(**chosen, seed=draws.between(0, 255)))


SPACE = Space(
    NestedTensorCase, AXES, repair, scope, flags=("reduced", "made", "sparse", "padding_idx"), draw=draw, strength=2
)
