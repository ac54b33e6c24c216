"""Which cases of dtypes_and_storage there are, and which program runs each."""

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


#: Origins of one row or column, which need one, and those of more than 2^31 rows or bytes.
NARROW = ("one_row", "one_column", "overlapping")


HUGE = ("tall", "mapped_tall")


#: Origins that take long.
DEAR = ("unpickled", "mapped", "shared", "read_only")


#: The dtypes that every release exchanges by DLPack.
EXCHANGED = ("float64", "float32", "float16", "bfloat16", "complex64", "complex128", "int64", "int32", "int16", "int8",
             "uint8", "bool")  # fmt: skip


#: Where indices may come from.
INDEX_ORIGINS = (
    "plain",
    "subclass",
    "shared",
    "mapped",
    "read_only",
    "inferred",
    "exchanged",
    "unpickled",
    "overlapping",
)


def plan(case: StorageCase) -> Plan:
    flags = {name: getattr(case, name) for name in ("padding_idx", "sparse") if getattr(case, name)}
    if case.padding_idx == 0:
        flags["padding_idx"] = 0
    options = {
        "origin": ORIGINS[case.origin] if case.misshapen is None else MISSHAPEN[case.misshapen],
        "index_origin": ORIGINS[case.index_origin],
        "call_variant": LOOKERS[case.call_variant],
        "flags": flags,
        "requires_grad": case.requires_grad,
        "taller": case.taller,
    }
    return Plan(looked_up, case.inputs(), options)


def repair(case: StorageCase) -> StorageCase | None:
    """The case with axes made to fit each other."""
    changes: dict[str, Any] = {"padding_idx": cases.padding_of(case.padding_idx, case.num_embeddings)}
    if case.num_embeddings == 0 and case.numel:
        return None
    if case.layout == "expanded":
        changes["layout"] = "column_slice"
    if case.index_layout == "expanded":
        changes["index_layout"] = "strided"
    few = min(case.num_embeddings, case.embedding_dim) == 0
    if case.origin in OF_COMPLEX and not case.dtype.startswith("complex"):
        changes["origin"] = "plain"
    if case.origin in (*NARROW, *HUGE) and few:
        changes["origin"] = "plain"
    if case.origin == "overlapping":
        changes["layout"] = "contiguous"
    if case.origin == "exchanged" and case.dtype not in EXCHANGED:
        changes["origin"] = "plain"
    if case.origin in HUGE:
        changes |= {"index_dtype": "int64", "out_of_range": None, "call_variant": "functional", "padding_idx": None}
    if case.misshapen is not None:
        changes |= {"origin": "plain", "out_of_range": None, "index_dtype": "int64", "requires_grad": False}
        if few or not case.numel or case.call_variant == "mapped_over":
            changes["misshapen"] = None
    if case.index_dtype not in INDEX_DTYPES:
        changes |= {"index_origin": "plain", "out_of_range": None}
    if not case.numel:
        changes["out_of_range"] = None
    if case.index_origin == "overlapping":
        changes["index_layout"] = "contiguous"
        if len(case.shape) != 2 or not case.numel:
            changes["index_origin"] = "plain"
    if case.call_variant == "mapped_over" and (not case.shape or not case.shape[0]):
        changes["call_variant"] = "functional"
    fitted = case.but(**changes)
    if fitted.origin == "subclass" and (fitted.call_variant == "mapped_over" or fitted.index_origin == "subclass"):
        fitted = fitted.but(origin="plain")  # vmap unwraps; two subclasses that know nothing of each other refuse
    if fitted.index_origin == "subclass" and fitted.call_variant == "mapped_over":
        fitted = fitted.but(index_origin="plain")
    real = fitted.dtype.startswith(("float", "bfloat")) or fitted.origin in PARTS
    if not real and not fitted.complex:
        fitted = fitted.but(requires_grad=False)
    if fitted.requires_grad and (
        {fitted.origin, fitted.index_origin} & {"inferred", "subclass"} or fitted.call_variant == "mapped_over"
    ):
        fitted = fitted.but(requires_grad=False)
    if fitted.requires_grad and fitted.sparse:
        # Then the sparse gradient's entries are the upstream gradient's bits, token by token.
        fitted = fitted.but(padding_idx=None)
    if fitted.out_of_range is not None and fitted.requires_grad:
        fitted = fitted.but(requires_grad=False)
    return fitted


def scope() -> Iterator[StorageCase]:
    """Every dtype with every origin and lookup; every index dtype and origin; every refusal."""
    shapes: tuple[tuple[int, ...], ...] = (
        (3,),
        (),
        (2, 2),
        (0,),
        (2, 1, 2),
        (1, 2, 1, 1),
        (2, 0),
        (1, 1, 2, 1, 1),
        (1, 1, 1, 2, 1, 1),
    )
    for seed, dtype in enumerate(DTYPES):
        for origin in ORIGINS:
            if origin not in HUGE:
                for turn, shape in enumerate(shapes[: 2 if origin in DEAR else 4]):
                    yield StorageCase(3, 2, dtype, "ends", shape, INDEX_DTYPES[turn % 2], origin, seed=seed)
        for call_variant in LOOKERS:
            for shape, sparse in itertools.product(shapes, (False, True)):
                yield StorageCase(4, 3, dtype, "uniform", shape, call_variant=call_variant, sparse=sparse, seed=seed)
            yield StorageCase(4, 3, dtype, call_variant=call_variant, requires_grad=True, seed=seed)
            yield StorageCase(4, 3, dtype, call_variant=call_variant, requires_grad=True, sparse=True, seed=seed)
            for turn, (out_of_range, place) in enumerate(
                itertools.product(("V", "-1", "-V"), ("first", "middle", "last"))
            ):
                shape = shapes[(turn % 3) * 2]
                index_dtype = INDEX_DTYPES[turn % 2]
                yield StorageCase(
                    3,
                    2,
                    dtype,
                    shape=shape,
                    index_dtype=index_dtype,
                    call_variant=call_variant,
                    out_of_range=out_of_range,
                    place=place,
                )
        for rows, width in itertools.product(range(3), (0, 1, 3)):
            yield StorageCase(rows, width, dtype, shape=(2,) if rows else (0,), seed=seed)
        for layout, index_layout in itertools.product(LAYOUTS[:-1], LAYOUTS[:2]):
            yield StorageCase(5, 3, dtype, "uniform", (2, 3), layout=layout, index_layout=index_layout, seed=seed)
    for index_dtype, call_variant, shape in itertools.product(DTYPES, LOOKERS, shapes[:5]):
        yield StorageCase(3, 2, "float32", shape=shape, index_dtype=index_dtype, call_variant=call_variant)
        yield StorageCase(
            3, 2, "float32", shape=shape, index_dtype=index_dtype, call_variant=call_variant, requires_grad=True
        )
    for index_origin, index_dtype, shape in itertools.product(INDEX_ORIGINS, INDEX_DTYPES, shapes[:4]):
        yield StorageCase(3, 2, "float32", "uniform", shape, index_dtype, index_origin=index_origin)
    for shape, index_dtype, call_variant in itertools.product(((2, 3), (4, 3), (3, 1)), INDEX_DTYPES, LOOKERS):
        yield StorageCase(
            9, 2, "float32", "permutation", shape, index_dtype, index_origin="overlapping", call_variant=call_variant
        )
    for misshapen, call_variant, dtype in itertools.product(MISSHAPEN, LOOKERS, DTYPES[:4]):
        yield StorageCase(3, 2, dtype, call_variant=call_variant, misshapen=misshapen)


def fixed_cases() -> Iterator[StorageCase]:
    """Larger tables of each dtype, and tables of more than 2^31 rows or bytes, of which few pages are ever touched."""
    for seed, dtype in enumerate(DTYPES):
        for rows, width, numel in ((5, 65, 257), (1025, 3, 33), (3, 1, 1001), (2, 1025, 5)):
            yield StorageCase(rows, width, dtype, "uniform", (numel,), INDEX_DTYPES[(seed + rows) % 2], seed=seed)
    for seed, index_dtype in enumerate(DTYPES):
        if index_dtype not in INDEX_DTYPES:
            yield StorageCase(3, 2, shape=((0,), (2, 0))[seed % 2], index_dtype=index_dtype)
            yield StorageCase(3, 2, shape=((2, 2), ())[seed % 2], index_dtype=index_dtype)
            for turn, shape in enumerate(((17,), (65,), (1025,), (13, 5), (3, 3, 3, 3), (33, 129))):
                # What is refused of few tokens is refused of many.
                call_variant = tuple(LOOKERS)[(seed + turn) % len(LOOKERS)]
                yield StorageCase(
                    3,
                    2,
                    "float32",
                    shape=shape,
                    index_dtype=index_dtype,
                    call_variant=("functional", call_variant)[turn % 2],
                )
    for dtype, width in (("uint8", 1), ("float32", 2), ("float16", 64)):
        yield StorageCase(4, width, dtype, "ends", (5,), origin="mapped_tall")
        yield StorageCase(4, width, dtype, "ends", (5,), origin="tall")
    for dtype in DTYPES:
        if dtype.startswith("float8"):
            yield StorageCase(4, 3, dtype, requires_grad=True, sparse=True)


def smaller(case: StorageCase) -> Iterator[StorageCase]:
    """Fewer rows, columns and tokens, the boldest cut first."""
    for axis, size in (
        ("num_embeddings", case.num_embeddings),
        ("embedding_dim", case.embedding_dim),
        ("", case.numel),
    ):
        step = size - 1
        while step > 0:
            yield case.but(**{axis: size - step}) if axis else case.but(shape=(size - step,))
            step //= 2


def draw(draws: Stream) -> StorageCase | None:
    """A random case."""
    chosen = {name: draws.choice(values) if draws.chance(2) else values[0] for name, values in AXES.items()}
    chosen |= {
        "dtype": draws.choice(DTYPES),
        "index_dtype": draws.choice(INDEX_DTYPES if draws.chance(2) else AXES["index_dtype"]),
    }
    if not draws.chance(12):
        chosen |= {"out_of_range": None, "misshapen": None}
    sizes = {"num_embeddings": draws.choice(cases.ROWS[:24]), "embedding_dim": draws.choice(cases.WIDTHS[:28])}
    shape = cases.spread(draws.choice(cases.TOKENS[:28]), draws)
    return repair(StorageCase(**{**chosen, **sizes, "shape": shape, "seed": draws.between(0, 255)}))


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5),
    "embedding_dim": (2, 1, 3, 0, 8),
    "dtype": DTYPES,
    "indices": ("cycle", "uniform", "same", "ends", "descending"),
    "shape": cases.SHAPES[:10],
    "index_dtype": (*INDEX_DTYPES, *(name for name in DTYPES if name not in INDEX_DTYPES)),
    "origin": tuple(name for name in ORIGINS if name not in HUGE),
    "index_origin": INDEX_ORIGINS,
    "call_variant": tuple(LOOKERS),
    "padding_idx": (None, 0, -1),
    "sparse": (False, True),
    "requires_grad": (False, True),
    "layout": LAYOUTS[:-1],
    "index_layout": LAYOUTS[:-1],
    "out_of_range": cases.STRAY_AXIS,
    "place": ("first", "middle", "last"),
    "misshapen": (None, *MISSHAPEN),
}


SPACE = Space(
    StorageCase,
    {name: values for name, values in AXES.items() if name not in ("out_of_range", "misshapen", "place", "index_dtype")}
    | {"index_dtype": INDEX_DTYPES},
    repair,
    lambda: (case for case in map(repair, scope()) if case is not None),
    fixed_cases,
    flags=("dtype", "origin", "call_variant", "index_dtype"),
    draw=draw,
    smaller=smaller,
    strength=2,
)
