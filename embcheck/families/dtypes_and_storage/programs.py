"""Where a table comes from: other memory, subclasses; and lookups in it.

They import nothing but torch (and what makes files), for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named

Tensor = torch.Tensor
Origin = Callable[[Tensor], Tensor]


def looked_up(origin: Origin, taller: int, weight: Tensor, indices: Tensor) -> dict[str, Any]:
    table, tokens = origin(weight), indices + taller if taller else indices
    value = torch.nn.functional.embedding(tokens, table)
    return {
        "value": value,
        "bits": in_bytes(value.as_subclass(torch.Tensor)),
        "contiguous": value.is_contiguous(),
        "type_kept": type(value) is type(table),
        "separate": value.numel() == 0 or value.untyped_storage().data_ptr() != table.untyped_storage().data_ptr(),
        "kinds": (str(value.dtype), str(table.dtype)),
    }


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
