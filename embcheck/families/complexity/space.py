"""Which cases of complexity there are, and which program runs each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from embcheck.core.format import FORMATS
from embcheck.core.law import Plan
from embcheck.core.space import Space
from embcheck.families.complexity.cases import CALLS, ComplexityCase
from embcheck.families.complexity.programs import CALLED, measure
from embcheck.families.lookup import cases


def plan(case: ComplexityCase) -> Plan:
    flags: dict[str, Any] = {}
    if case.call != "one_hot":
        flags = {"sparse": case.sparse, "scale_grad_by_freq": case.scale_grad_by_freq, "padding_idx": case.padding_idx}
    return Plan(measure, case.inputs(), {"call": CALLED[case.call], "flags": flags})


def repair(case: ComplexityCase) -> ComplexityCase | None:
    """The case with flags that its call takes together."""
    case = case.but(padding_idx=cases.padding_of(case.padding_idx, case.num_embeddings))
    if case.call == "one_hot":
        return case.but(padding_idx=None, sparse=False, scale_grad_by_freq=False, index_dtype="int64", embedding_dim=2)
    if case.sparse and not case.reduces:
        case = case.but(scale_grad_by_freq=False)  # refused in backward
    if case.call == "bag_max":
        case = case.but(sparse=False, scale_grad_by_freq=False)
    if case.call == "bag_weighted" or (case.sparse and case.reduces):
        case = case.but(scale_grad_by_freq=False)
    return case.but(indices="uniform") if case.indices == "padding" and case.padding_idx is None else case


def fixed_cases() -> Iterator[ComplexityCase]:
    """Rows of more memory than a token's bookkeeping, tables of more than all tokens' rows, and many tokens."""
    sizes = ((5, 129, 257, 2), (4097, 16, 9, 3), (65, 64, 257, 4), (1001, 129, 129, 9))
    for index_dtype, scale in (("int32", False), ("int64", True), ("int32", True)):
        for rows, width, numel, _ in sizes:
            yield ComplexityCase("functional", rows, width, numel, index_dtype=index_dtype, scale_grad_by_freq=scale)
    for seed, (call, size) in enumerate(itertools.product(CALLS, sizes)):
        rows, width, numel, bags = size
        dtype = tuple(FORMATS)[(seed + seed // 4) % 4]
        for sparse, padding in ((False, None), (True, -1)):
            fitted = repair(
                ComplexityCase(call, rows, width, numel, bags, dtype, padding_idx=padding, sparse=sparse, seed=seed)
            )
            if fitted is not None:
                yield fitted


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
    "indices": ("uniform", "same", "permutation"),
}


SPACE = Space(ComplexityCase, AXES, repair, fixed_cases=fixed_cases, strength=2)
