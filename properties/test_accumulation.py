"""Accumulation: the gradient of a frequent token's row counts its tokens, in half precision too."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.comparison import every, same
from embcheck.law import Family, Plan
from embcheck.lookup.accumulation import GATHERED, accumulated
from embcheck.lookup.accumulation_case import SPARSE, Accumulation
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space

#: On both sides of where bfloat16 and float16 stop to hold every integer, and beyond.
COUNTS: tuple[tuple[int, ...], ...] = (
    (300,), (255,), (256,), (257,), (2047,), (2048,), (2049,), (3000,), (1, 300), (257, 3, 255), (3000, 0, 300),
    (256, 2049, 1, 300), (2048, 2047, 2049, 3000, 300, 257, 256, 255),
)  # fmt: skip


def plan(case: Accumulation) -> Plan:
    return Plan(accumulated, case.inputs(), {"call": GATHERED[case.call], "sparse": case.sparse})


def canonical(case: Accumulation) -> Accumulation | None:
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


def scope() -> Iterator[Accumulation]:
    """Every call with every number of tokens in every dtype."""
    seen = set()
    chosen = itertools.product(COUNTS, GATHERED, (False, True), AXES["dtype"])
    for seed, (counts, call, sparse, dtype) in enumerate(chosen):
        width, index_dtype = AXES["embedding_dim"][seed // 4 % 4], AXES["index_dtype"][seed // 8 % 2]
        case = canonical(Accumulation(counts, width, call, sparse, seed % 3 == 1, dtype, index_dtype))
        if case is not None and case not in seen:
            seen.add(case)
            yield case


def landmarks() -> Iterator[Accumulation]:
    """Every call with rows of unequal counts, in half precision, in every profile."""
    for call, dtype, mixed in itertools.product(GATHERED, ("bfloat16", "float16"), (False, True)):
        for counts in ((300, 2049, 3000), (256, 255, 3)):
            yield Accumulation(counts, 2, call, mixed=mixed, dtype=dtype)
            if call in SPARSE:
                yield Accumulation(counts, 2, call, True, mixed, dtype)


family = Family(
    "accumulation",
    Space(Accumulation, AXES, canonical, scope, landmarks, flags=("call", "sparse", "dtype", "counts"), strength=2),
    plan,
    cost=4.0,
)
law = family.law


@law(
    "The gradient of a row that n tokens send ones is n, rounded once to the table's dtype: it is added up in a format that "
    "counts them, on the CPU as by a graphics card or a compiler.",
    source="one_hot(i)ᵀ · 1 is the number of tokens; Numerical accuracy: reductions of reduced precision accumulate in float32",
    obliges={f"call={name}" for name in GATHERED}
    | {"dtype=bfloat16", "dtype=float16", "dtype=float32", "sparse", "several", "mixed", "largest>2048", "stops"},
)
def frequent_tokens_are_counted(case: Accumulation, out: Outcome) -> Finding:
    return every(same(out.gradient, case.gradient), same(out.coalesced, case.gradient) if case.sparse else UNASKED)


test_scope, test_product, test_random = family.tests()
