"""The space of lookups in tables of any dtype and origin: every dtype with every origin and shape, and refusals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.core.format import STORAGE
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.dtypes_and_storage.cases import INDEX_DTYPES, OF_COMPLEX, StorageCase
from embcheck.families.dtypes_and_storage.programs import MISSHAPEN, ORIGINS, looked_up
from embcheck.families.lookup import cases

#: The dtypes of this release, the simplest first.
DTYPES = tuple(name for name in sorted(STORAGE, key=("int64", "float32").count, reverse=True) if hasattr(torch, name))
#: Origins of more than 2^31 rows or bytes.
HUGE = ("tall", "mapped_tall")


def plan(case: StorageCase) -> Plan:
    origin = ORIGINS[case.origin] if case.misshapen is None else MISSHAPEN[case.misshapen]
    return Plan(looked_up, case.inputs(), {"origin": origin, "taller": case.taller})


def repair(case: StorageCase) -> StorageCase | None:
    """The case with axes made to fit each other."""
    if case.num_embeddings == 0 and case.numel:
        return None
    changes: dict[str, Any] = {}
    few = min(case.num_embeddings, case.embedding_dim) == 0
    if few or (case.origin in OF_COMPLEX and not case.complex) or case.misshapen is not None:
        changes["origin"] = "plain"
    if case.origin == "overlapping":
        changes["layout"] = "contiguous"
    if case.origin in HUGE or case.misshapen is not None:
        changes["index_dtype"] = "int64"
    if case.misshapen is not None and (few or not case.numel):
        changes["misshapen"] = None
    return case.but(**changes)


def fixed_cases() -> Iterator[StorageCase]:
    """Larger tables of each dtype, tables of more than 2^31 rows or bytes, of which few pages are ever touched, and refusals."""
    for seed, dtype in enumerate(DTYPES):
        for rows, width, numel in ((5, 65, 257), (1025, 3, 33), (3, 1, 1001), (2, 1025, 5)):
            yield StorageCase(rows, width, dtype, "uniform", (numel,), INDEX_DTYPES[(seed + rows) % 2], seed=seed)
        # What is refused of few tokens is refused of many, and of none.
        for shape in ((0,), (2, 2), (), (65,), (33, 129)) if dtype not in INDEX_DTYPES else ():
            yield StorageCase(3, 2, "float32", shape=shape, index_dtype=dtype)
    for origin, (dtype, width) in itertools.product(HUGE, (("uint8", 1), ("float32", 2), ("float16", 64))):
        yield StorageCase(4, width, dtype, "ends", (5,), origin=origin)
    yield from (StorageCase(3, 2, "float32", misshapen=misshapen) for misshapen in MISSHAPEN)


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5, 0),
    "embedding_dim": (2, 1, 3, 0, 8),
    "dtype": DTYPES,
    "indices": ("cycle", "uniform", "same", "ends", "descending"),
    "shape": cases.SHAPES,
    "origin": tuple(name for name in ORIGINS if name not in HUGE),
    "layout": LAYOUTS[:-1],
    "index_dtype": INDEX_DTYPES,
}
_FLAGS = ("dtype", "origin", "shape", "index_dtype")
SPACE = Space(StorageCase, AXES, repair, fixed_cases=fixed_cases, flags=_FLAGS, strength=2)
