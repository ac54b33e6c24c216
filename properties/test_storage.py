"""Storage: a lookup copies bits, whatever dtype the table has, wherever its memory lies, however its indices came."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import torch

from embcheck.comparison import every, identical, is_true, refuses, same, unwritten
from embcheck.format import STORAGE
from embcheck.law import Family, Plan
from embcheck.layout import LAYOUTS
from embcheck.lookup import table
from embcheck.lookup.provenance import LOOKERS, MISSHAPEN, ORIGINS, looked_up
from embcheck.lookup.storage_case import INDEX_DTYPES, OF_COMPLEX, PARTS, StorageCase
from embcheck.outcome import Outcome
from embcheck.result import UNASKED, Finding
from embcheck.space import Space
from embcheck.stream import Stream

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
        "looker": LOOKERS[case.looker],
        "flags": flags,
        "requires_grad": case.requires_grad,
        "taller": case.taller,
    }
    return Plan(looked_up, case.inputs(), options)


def canonical(case: StorageCase) -> StorageCase | None:
    """The case with axes made to fit each other."""
    changes: dict[str, Any] = {"padding_idx": table.padding_of(case.padding_idx, case.num_embeddings)}
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
        changes |= {"index_dtype": "int64", "stray": None, "looker": "functional", "padding_idx": None}
    if case.misshapen is not None:
        changes |= {"origin": "plain", "stray": None, "index_dtype": "int64", "requires_grad": False}
        if few or not case.numel or case.looker == "mapped_over":
            changes["misshapen"] = None
    if case.index_dtype not in INDEX_DTYPES:
        changes |= {"index_origin": "plain", "stray": None}
    if not case.numel:
        changes["stray"] = None
    if case.index_origin == "overlapping":
        changes["index_layout"] = "contiguous"
        if len(case.shape) != 2 or not case.numel:
            changes["index_origin"] = "plain"
    if case.looker == "mapped_over" and (not case.shape or not case.shape[0]):
        changes["looker"] = "functional"
    fitted = case.but(**changes)
    if fitted.origin == "subclass" and (fitted.looker == "mapped_over" or fitted.index_origin == "subclass"):
        fitted = fitted.but(origin="plain")  # vmap unwraps; two subclasses that know nothing of each other refuse
    if fitted.index_origin == "subclass" and fitted.looker == "mapped_over":
        fitted = fitted.but(index_origin="plain")
    real = fitted.dtype.startswith(("float", "bfloat")) or fitted.origin in PARTS
    if not real and not fitted.complex:
        fitted = fitted.but(requires_grad=False)
    if fitted.requires_grad and (
        {fitted.origin, fitted.index_origin} & {"inferred", "subclass"} or fitted.looker == "mapped_over"
    ):
        fitted = fitted.but(requires_grad=False)
    if fitted.requires_grad and fitted.sparse:
        # Then the sparse gradient's entries are the upstream gradient's bits, token by token.
        fitted = fitted.but(padding_idx=None)
    if fitted.stray is not None and fitted.requires_grad:
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
        for looker in LOOKERS:
            for shape, sparse in itertools.product(shapes, (False, True)):
                yield StorageCase(4, 3, dtype, "uniform", shape, looker=looker, sparse=sparse, seed=seed)
            yield StorageCase(4, 3, dtype, looker=looker, requires_grad=True, seed=seed)
            yield StorageCase(4, 3, dtype, looker=looker, requires_grad=True, sparse=True, seed=seed)
            for turn, (stray, place) in enumerate(itertools.product(("V", "-1", "-V"), ("first", "middle", "last"))):
                shape = shapes[(turn % 3) * 2]
                index_dtype = INDEX_DTYPES[turn % 2]
                yield StorageCase(
                    3, 2, dtype, shape=shape, index_dtype=index_dtype, looker=looker, stray=stray, place=place
                )
        for rows, width in itertools.product(range(3), (0, 1, 3)):
            yield StorageCase(rows, width, dtype, shape=(2,) if rows else (0,), seed=seed)
        for layout, index_layout in itertools.product(LAYOUTS[:-1], LAYOUTS[:2]):
            yield StorageCase(5, 3, dtype, "uniform", (2, 3), layout=layout, index_layout=index_layout, seed=seed)
    for index_dtype, looker, shape in itertools.product(DTYPES, LOOKERS, shapes[:5]):
        yield StorageCase(3, 2, "float32", shape=shape, index_dtype=index_dtype, looker=looker)
        yield StorageCase(3, 2, "float32", shape=shape, index_dtype=index_dtype, looker=looker, requires_grad=True)
    for index_origin, index_dtype, shape in itertools.product(INDEX_ORIGINS, INDEX_DTYPES, shapes[:4]):
        yield StorageCase(3, 2, "float32", "uniform", shape, index_dtype, index_origin=index_origin)
    for shape, index_dtype, looker in itertools.product(((2, 3), (4, 3), (3, 1)), INDEX_DTYPES, LOOKERS):
        yield StorageCase(9, 2, "float32", "permutation", shape, index_dtype, index_origin="overlapping", looker=looker)
    for misshapen, looker, dtype in itertools.product(MISSHAPEN, LOOKERS, DTYPES[:4]):
        yield StorageCase(3, 2, dtype, looker=looker, misshapen=misshapen)


def landmarks() -> Iterator[StorageCase]:
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
                looker = tuple(LOOKERS)[(seed + turn) % len(LOOKERS)]
                yield StorageCase(
                    3, 2, "float32", shape=shape, index_dtype=index_dtype, looker=("functional", looker)[turn % 2]
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
        chosen |= {"stray": None, "misshapen": None}
    sizes = {"num_embeddings": draws.choice(table.ROWS[:24]), "embedding_dim": draws.choice(table.WIDTHS[:28])}
    shape = table.spread(draws.choice(table.TOKENS[:28]), draws)
    return canonical(StorageCase(**{**chosen, **sizes, "shape": shape, "seed": draws.between(0, 255)}))


AXES: dict[str, tuple[Any, ...]] = {
    "num_embeddings": (3, 1, 2, 5),
    "embedding_dim": (2, 1, 3, 0, 8),
    "dtype": DTYPES,
    "indices": ("cycle", "uniform", "same", "ends", "descending"),
    "shape": table.SHAPES[:10],
    "index_dtype": (*INDEX_DTYPES, *(name for name in DTYPES if name not in INDEX_DTYPES)),
    "origin": tuple(name for name in ORIGINS if name not in HUGE),
    "index_origin": INDEX_ORIGINS,
    "looker": tuple(LOOKERS),
    "padding_idx": (None, 0, -1),
    "sparse": (False, True),
    "requires_grad": (False, True),
    "layout": LAYOUTS[:-1],
    "index_layout": LAYOUTS[:-1],
    "stray": table.STRAY_AXIS,
    "place": ("first", "middle", "last"),
    "misshapen": (None, *MISSHAPEN),
}

storage = Family(
    "storage",
    Space(
        StorageCase,
        {name: values for name, values in AXES.items() if name not in ("stray", "misshapen", "place", "index_dtype")}
        | {"index_dtype": INDEX_DTYPES},
        canonical,
        lambda: (case for case in map(canonical, scope()) if case is not None),
        landmarks,
        flags=("dtype", "origin", "looker", "index_dtype"),
        draw=draw,
        smaller=smaller,
        strength=2,
    ),
    plan,
    refused=lambda case: case.refused,
    cost=4.0,
    stride=5,
)


@storage.law(
    "embedding(i) = W[i], bit for bit, for a table of any dtype and of any origin.",
    source="nn.Embedding: a simple lookup table; torch.Tensor.conj: a view",
    obliges={"complex", "float8", "dtype=bool", "dtype=uint8", "dtype=int8", "dtype=int16", "dtype=int32", "empty", "zero_width",
             "rank>=4", "origin=subclass", "origin=mapped", "origin=shared", "origin=conjugate", "origin=negated_imaginary",
             "index_dtype=int32", "last_row"},
)  # fmt: skip
def lookup_copies_bytes(case: StorageCase, out: Outcome) -> Finding:
    return identical(out.bits, case.expected)


@storage.law(
    "The output has the table's dtype and class, is contiguous, and has memory of its own.",
    source="nn.Embedding: Variables; Extending PyTorch: subclasses are preserved",
)
def copied_bytes_keep_their_kind(case: StorageCase, out: Outcome) -> Finding:
    value, tensor = out.kinds.raw
    return every(
        same(out.kinds, (tensor, tensor)) if value != tensor else UNASKED,
        is_true(out.type_kept, "a tensor of another class"),
        is_true(out.contiguous, "not contiguous, or with a lazy sign"),
        is_true(out.separate, "the output shares memory with the table"),
        is_true(out.requires, "the output requires grad though the table does not, or the other way round"),
    )


@storage.law(
    "A sparse gradient has the upstream gradient's bits, token by token, for formats that can't be added as well.",
    source="nn.Embedding: sparse",
    when=lambda case: case.requires_grad and case.sparse,
    obliges={"float8"},
)
def sparse_gradient_copies_bytes(case: StorageCase, out: Outcome) -> Finding:
    return identical(out.gradient_bits, case.expected)


@storage.law("Nothing is written.", source="no side effects")
def storage_is_left_alone(case: StorageCase, out: Outcome) -> Finding:
    return unwritten(out)


@storage.law(
    "Indices that are neither int64 nor int32 or lie outside the table, a table without two axes, and a complex table that "
    "requires grad are refused, and nothing is written.",
    source="nn.Embedding: Input (IntTensor or LongTensor), weight (2-D); embedding: no differentiation for complex outputs",
    obliges={"stray=V", "stray=-1", "place=last", "place=middle", "index_dtype=int16", "index_dtype=uint8", "index_dtype=float32",
             "index_dtype=bool", "numel>1024", "complex", "misshapen=scalar", "misshapen=vector", "misshapen=cube", "rank>=3"},
    refusal=True,
)  # fmt: skip
def storage_refuses(case: StorageCase, out: Outcome) -> Finding:
    return every(refuses(out, IndexError, RuntimeError, AssertionError), unwritten(out))


test_scope, test_product, test_random = storage.tests()
