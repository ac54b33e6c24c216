"""Which cases of fake_tensors there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.fake_tensors.cases import FakeTensorCase
from embcheck.families.fake_tensors.programs import SHADOWED, shadowed


def plan(case: FakeTensorCase) -> Plan:
    options = {"call": SHADOWED[case.call], "flags": case.flags, "learns": case.learns}
    return Plan(shadowed, case.inputs(), options)


def repair(case: FakeTensorCase) -> FakeTensorCase | None:
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
    "call": tuple(SHADOWED),
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
    seen = set()
    for seed, chosen in enumerate(itertools.product(*(AXES[name] for name in names))):
        for lengths in (AXES["lengths"][0], AXES["lengths"][1 + seed % 5]):
            index, layout = AXES["index_dtype"][seed % 2], AXES["layout"][seed % 3 == 2]
            case = FakeTensorCase(
                lengths=lengths, index_dtype=index, layout=layout, **dict(zip(names, chosen, strict=True))
            )
            fitted = repair(case)
            if fitted is not None and fitted not in seen:
                seen.add(fitted)
                yield fitted


SPACE = Space(FakeTensorCase, AXES, repair, scope, flags=("call", "mode", "include_last_offset", "learns"), strength=2)
