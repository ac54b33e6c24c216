"""Lookups in tables of any dtype and origin: where a table comes from, the program, and every dtype with every origin and shape."""

import itertools
import os
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.core.format import STORAGE
from embcheck.core.law import Plan
from embcheck.core.layout import LAYOUTS
from embcheck.core.registry import named
from embcheck.core.space import Space
from embcheck.families.dtypes_and_storage.cases import INDEX_DTYPES, StorageCase
from embcheck.families.lookup import cases

Tensor = torch.Tensor
Origin = Callable[[Tensor], Tensor]


def looked_up(origin: Origin, taller: int, multiplied: bool, weight: Tensor, indices: Tensor) -> dict[str, Any]:
    table, tokens = origin(weight), indices + taller if taller else indices
    value = torch.nn.functional.embedding(tokens, table)
    return {
        **(products(tokens, table) if multiplied else {}),
        "value": value,
        "bits": in_bytes(value.as_subclass(torch.Tensor)),
        "contiguous": value.is_contiguous(),
        "type_kept": type(value) is type(table),
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != table.untyped_storage().data_ptr(),
        "kinds": (str(value.dtype), str(table.dtype)),
    }


def products(tokens: Tensor, table: Tensor) -> dict[str, Tensor]:
    """The bytes of a product of one_hot with a table of integers, as a matrix and as a linear layer computes it."""
    hot = torch.nn.functional.one_hot(tokens.long(), len(table)).to(table.dtype)
    return {"matrix": in_bytes(hot @ table), "linear": in_bytes(torch.nn.functional.linear(hot, table.T))}


def in_bytes(tensor: Tensor) -> Tensor:
    """The bytes of a tensor, those of an element along the last axis."""
    compact = tensor.clone(memory_format=torch.contiguous_format)
    plain = torch.view_as_real(compact).flatten(-2) if tensor.is_complex() else compact
    return (plain if plain.dim() else plain[None]).view(torch.uint8)


# -- where a tensor comes from -----------------------------------------------------------------------------------------


def mapped_tall(given: Tensor) -> Tensor:
    # A sparse file of more than 2^31 bytes, whose last rows are the given ones.
    size, width = given.element_size(), given.shape[1]
    rows = 2**31 // (size * width) + given.shape[0] + 5
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.truncate(rows * width * size)
    storage: Any = torch.UntypedStorage.from_file(file.name, True, rows * width * size)
    table = torch.empty(0, dtype=given.dtype).set_(storage, 0, (rows, width), (width, 1))
    table[-given.shape[0] :] = given
    os.unlink(file.name)
    return table


ORIGINS: dict[str, Origin] = named(
    {
        "plain": lambda given: given,
        "subclass": lambda given: given.as_subclass(type("Tagged", (torch.Tensor,), {})),
        "shared": lambda given: given.clone().share_memory_(),
        # Views that are conjugated, or negated, when they are read.
        "conjugated": lambda given: given.conj_physical().conj(),
        "negated": lambda given: torch.complex(torch.zeros_like(given), -given).conj().imag,
        "mapped_tall": mapped_tall,
        "tall": lambda given: given[:1].expand(2**31 + 9, given.shape[1]),
    }
)

#: The dtypes of this release, the simplest first.
DTYPES = tuple(name for name in sorted(STORAGE, key=("int64", "float32").count, reverse=True) if hasattr(torch, name))
#: Origins of more than 2^31 rows or bytes.
HUGE = ("tall", "mapped_tall")
#: The dtypes of those that are not for every one.
_ONLY = {"conjugated": ("complex64", "complex128"), "negated": ("float32", "float64")}


def plan(case: StorageCase) -> Plan:
    options = {"origin": ORIGINS[case.origin], "taller": case.taller, "multiplied": case.multiplied}
    return Plan(looked_up, case.inputs(), options)


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
