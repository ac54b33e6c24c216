"""The space of lookups in tables of any dtype and origin: every dtype with every origin and shape."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.core.format import STORAGE
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.families.dtypes_and_storage.cases import INDEX_DTYPES, StorageCase
from embcheck.families.dtypes_and_storage.programs import ORIGINS, looked_up
from embcheck.families.lookup import cases

#: The dtypes of this release, the simplest first.
DTYPES = tuple(name for name in sorted(STORAGE, key=("int64", "float32").count, reverse=True) if hasattr(torch, name))
#: Origins of more than 2^31 rows or bytes.
HUGE = ("tall", "mapped_tall")
#: The dtypes of those that are not for every one.
_ONLY = {"conjugated": ("complex64", "complex128"), "negated": ("float32", "float64")}


def plan(case: StorageCase) -> Plan:
    return Plan(looked_up, case.inputs(), {"origin": ORIGINS[case.origin], "taller": case.taller})


def repair(case: StorageCase) -> StorageCase | None:
    if case.num_embeddings == 0 and case.numel:
        return None
    if min(case.num_embeddings, case.embedding_dim) == 0 or case.dtype not in _ONLY.get(case.origin, (case.dtype,)):
        return case.but(origin="plain")
    return case.but(index_dtype="int64") if case.origin in HUGE else case


def fixed_cases() -> Iterator[StorageCase]:
    """Larger tables of each dtype, and tables of more than 2^31 rows or bytes, of which few pages are ever touched."""
    for seed, dtype in enumerate(DTYPES):
        for rows, width, numel in ((5, 65, 257), (1025, 3, 33), (3, 1, 1001), (2, 1025, 5)):
            yield StorageCase(rows, width, dtype, "uniform", (numel,), INDEX_DTYPES[(seed + rows) % 2], seed=seed)
    for origin, (dtype, width) in itertools.product(HUGE, (("uint8", 1), ("float32", 2), ("float16", 64))):
        yield StorageCase(4, width, dtype, "ends", (5,), origin=origin)


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
