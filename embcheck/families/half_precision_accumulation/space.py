"""Which cases of half_precision_accumulation there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.half_precision_accumulation.cases import SPARSE, AccumulationCase
from embcheck.families.half_precision_accumulation.programs import GATHERED, accumulated

#: On both sides of where bfloat16 and float16 stop to hold every integer, and beyond.
COUNTS: tuple[tuple[int, ...], ...] = (
    (300,), (255,), (256,), (257,), (2047,), (2048,), (2049,), (3000,), (1, 300), (257, 3, 255), (3000, 0, 300),
    (256, 2049, 1, 300), (2048, 2047, 2049, 3000, 300, 257, 256, 255),
)  # fmt: skip


def plan(case: AccumulationCase) -> Plan:
    return Plan(accumulated, case.inputs(), {"call": GATHERED[case.call], "sparse": case.sparse})


def repair(case: AccumulationCase) -> AccumulationCase | None:
    """The case with what its call takes."""
    changes: dict[str, Any] = {}
    if case.call not in SPARSE:
        changes["sparse"] = False
    if case.call in ("gathered", "product"):
        changes["index_dtype"] = "int64"
    if len(case.counts) == 1:
        changes["mixed"] = False
    return case.but(**changes)


AXES: dict[str, tuple[Any, ...]] = {
    "counts": COUNTS,
    "embedding_dim": (1, 2, 8, 33),
    "call": tuple(GATHERED),
    "sparse": (False, True),
    "mixed": (False, True),
    "dtype": ("bfloat16", "float16", "float32", "float64"),
    "index_dtype": ("int64", "int32"),
}


def scope() -> Iterator[AccumulationCase]:
    """Every call with every number of tokens in every dtype."""
    seen = set()
    chosen = itertools.product(COUNTS, GATHERED, (False, True), AXES["dtype"])
    for seed, (counts, call, sparse, dtype) in enumerate(chosen):
        width, index_dtype = AXES["embedding_dim"][seed // 4 % 4], AXES["index_dtype"][seed // 8 % 2]
        case = repair(AccumulationCase(counts, width, call, sparse, seed % 3 == 1, dtype, index_dtype))
        if case is not None and case not in seen:
            seen.add(case)
            yield case


def fixed_cases() -> Iterator[AccumulationCase]:
    """Every call with rows of unequal counts, in half precision, in every profile."""
    for call, dtype, mixed in itertools.product(GATHERED, ("bfloat16", "float16"), (False, True)):
        for counts in ((300, 2049, 3000), (256, 255, 3)):
            yield AccumulationCase(counts, 2, call, mixed=mixed, dtype=dtype)
            if call in SPARSE:
                yield AccumulationCase(counts, 2, call, True, mixed, dtype)


SPACE = Space(
    AccumulationCase, AXES, repair, scope, fixed_cases, flags=("call", "sparse", "dtype", "counts"), strength=2
)
