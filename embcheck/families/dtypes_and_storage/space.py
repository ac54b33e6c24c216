"""The space of lookups in tables of any dtype and origin: every dtype with every origin and lookup, and refusals."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.core.format import STORAGE
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.space import Space
from embcheck.core.stream import Stream
from embcheck.families.dtypes_and_storage.cases import INDEX_DTYPES, OF_COMPLEX, PARTS, StorageCase
from embcheck.families.dtypes_and_storage.programs import LOOKERS, MISSHAPEN, ORIGINS, looked_up
from embcheck.families.lookup import cases

#: The dtypes of this release, the simplest first.
DTYPES = tuple(name for name in sorted(STORAGE, key=("int64", "float32").count, reverse=True) if hasattr(torch, name))
#: Those that no index may have.
REFUSED_DTYPES = tuple(name for name in DTYPES if name not in INDEX_DTYPES)
#: Origins of more than 2^31 rows or bytes.
HUGE = ("tall", "mapped_tall")
SHAPES: tuple[tuple[int, ...], ...] = ((3,), (), (2, 2), (0,), (2, 1, 2), (1, 2, 1, 1), (2, 0), (1, 1, 2, 1, 1))


def plan(case: StorageCase) -> Plan:
    options = {
        "origin": ORIGINS[case.origin] if case.misshapen is None else MISSHAPEN[case.misshapen],
        "call_variant": LOOKERS[case.call_variant],
        "flags": {"sparse": True} if case.sparse else {},
        "requires_grad": case.requires_grad,
        "taller": case.taller,
    }
    return Plan(looked_up, case.inputs(), options)


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
    if case.origin in HUGE:
        changes |= {"index_dtype": "int64", "out_of_range": None, "call_variant": "functional"}
    if case.misshapen is not None:
        changes |= {"out_of_range": None, "index_dtype": "int64", "requires_grad": False}
        if few or not case.numel or case.call_variant == "mapped_over":
            changes["misshapen"] = None
    if case.index_dtype in REFUSED_DTYPES or not case.numel:
        changes["out_of_range"] = None
    if case.call_variant == "mapped_over" and not (case.shape and case.shape[0]):
        changes["call_variant"] = "functional"
    fitted = case.but(**changes)
    mapped = fitted.call_variant == "mapped_over"
    if mapped and fitted.origin == "subclass":
        fitted = fitted.but(origin="plain")  # which vmap unwraps
    learns = fitted.complex or fitted.dtype.startswith(("float", "bfloat")) or fitted.origin in PARTS
    if not learns or mapped or fitted.origin == "subclass" or fitted.out_of_range is not None:
        fitted = fitted.but(requires_grad=False)
    return fitted


def _small() -> Iterator[StorageCase]:
    for seed, (dtype, call_variant, shape) in enumerate(itertools.product(DTYPES, LOOKERS, SHAPES)):
        axes: dict[str, Any] = {"call_variant": call_variant, "requires_grad": seed % 3 == 0, "sparse": seed % 2 == 0}
        yield StorageCase(4, 3, dtype, "uniform", shape, **axes, seed=seed)
        axes = {"index_dtype": INDEX_DTYPES[seed % 2], "call_variant": call_variant}
        yield StorageCase(3, 2, dtype, shape=shape, **axes, out_of_range=("V", "-1", "-V")[seed % 3], seed=seed)
        yield StorageCase(3, 2, "float32", shape=shape, index_dtype=dtype, call_variant=call_variant, seed=seed)
    for dtype, rows, width in itertools.product(DTYPES, range(3), (0, 1, 3)):
        yield StorageCase(rows, width, dtype, shape=(2,) if rows else (0,), seed=rows)
    for misshapen, call_variant, dtype in itertools.product(MISSHAPEN, LOOKERS, DTYPES[:4]):
        yield StorageCase(3, 2, dtype, call_variant=call_variant, misshapen=misshapen)


def scope() -> Iterator[StorageCase]:
    """Every dtype of table and of indices with every lookup and small shape; every refusal."""
    return filter(None, map(repair, _small()))


def fixed_cases() -> Iterator[StorageCase]:
    """Larger tables of each dtype, and tables of more than 2^31 rows or bytes, of which few pages are ever touched."""
    for seed, dtype in enumerate(DTYPES):
        for rows, width, numel in ((5, 65, 257), (1025, 3, 33), (3, 1, 1001), (2, 1025, 5)):
            yield StorageCase(rows, width, dtype, "uniform", (numel,), INDEX_DTYPES[(seed + rows) % 2], seed=seed)
    for seed, (index_dtype, turn) in enumerate(itertools.product(REFUSED_DTYPES, range(4))):
        # What is refused of few tokens is refused of many, and of none.
        shape = ((0,), (2, 2), (65,), (1025,), (2, 0), (), (13, 5), (33, 129))[turn + 4 * (seed // 4 % 2)]
        call_variant = tuple(LOOKERS)[seed % len(LOOKERS)]
        yield StorageCase(3, 2, "float32", shape=shape, index_dtype=index_dtype, call_variant=call_variant)
    for origin, (dtype, width) in itertools.product(HUGE, (("uint8", 1), ("float32", 2), ("float16", 64))):
        yield StorageCase(4, width, dtype, "ends", (5,), origin=origin)


def draw(draws: Stream) -> StorageCase | None:
    """A random case."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    chosen["dtype"] = draws.choice(DTYPES)
    if draws.chance(12):
        chosen |= {"index_dtype": draws.choice(DTYPES), "misshapen": draws.choice((None, *MISSHAPEN))}
        chosen["out_of_range"] = draws.choice(cases.STRAY_AXIS)
    sizes = {"num_embeddings": draws.choice(cases.ROWS[:24]), "embedding_dim": draws.choice(cases.WIDTHS[:28])}
    shape = cases.spread(draws.choice(cases.TOKENS[:28]), draws)
    return repair(StorageCase(**{**chosen, **sizes, "shape": shape, "seed": draws.between(0, 255)}))


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5),
    "embedding_dim": (2, 1, 3, 0, 8),
    "dtype": DTYPES,
    "indices": ("cycle", "uniform", "same", "ends", "descending"),
    "shape": cases.SHAPES[:10],
    "origin": tuple(name for name in ORIGINS if name not in HUGE),
    "call_variant": tuple(LOOKERS),
    "sparse": (False, True),
    "requires_grad": (False, True),
    "layout": LAYOUTS[:-1],
    "index_dtype": INDEX_DTYPES,
}
_FLAGS = ("dtype", "origin", "call_variant", "index_dtype")
SPACE = Space(StorageCase, AXES, repair, scope, fixed_cases, _FLAGS, draw=draw, strength=2)
