"""Faults of tables of less common dtypes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import functional
from selfcheck.faults.kernels import Spoil, Tensor, When, forward

int8, uint8, int16, int32, int64 = torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64
half, double = torch.float16, torch.float64


def differs(make: Callable[[], Tensor], tokens: Any = (1, 0), dtype: torch.dtype = int64) -> Witness:
    """Whether a lookup gives other bytes than the rows, another class, or raises."""

    def witness() -> bool:
        table = make()
        indices = torch.tensor(tokens, dtype=dtype)
        wanted = torch.stack([table[int(token)] for token in indices.reshape(-1)])
        try:
            found = functional.embedding(indices, table)
        except Exception:
            return True
        return type(found) is not type(wanted) or raw(found) != raw(wanted)

    return witness


def raw(tensor: Tensor) -> list[int]:
    """The bytes of a tensor."""
    plain = tensor.detach().as_subclass(Tensor).resolve_conj().resolve_neg().contiguous().flatten()
    return (torch.view_as_real(plain).flatten() if plain.is_complex() else plain).view(uint8).tolist()


def stored(
    name: str, sentence: str, when: When, spoil: Spoil, make: Callable[[], Tensor], tokens: Any = (1, 0)
) -> None:
    """A fault of the forward kernel for one kind of table."""
    forward(name, sentence, lambda c: c.numel * c.width > 0 and when(c), spoil, differs(make, tokens), "dtypes_and_storage")


def kind(dtype: torch.dtype) -> When:
    """Tables of a dtype."""
    return lambda call: call.given.dtype == dtype


def _bits(change: Callable[[Tensor], Tensor]) -> Spoil:
    return lambda call, out: change(out.contiguous().view(uint8)).view(out.dtype)


def _byte_table(dtype: torch.dtype, *content: int) -> Callable[[], Tensor]:
    return lambda: torch.tensor(content, dtype=uint8).reshape(-1, 1).view(dtype)


for _name, _wrong, _bytes in (
    ("e4m3fn", lambda b: torch.where(b == 0xFF, 0x7F, b), (0xFF, 0)),
    ("e5m2", lambda b: torch.where(b & 0x7F > 0x7C, 0x7E, b), (0xFF, 0)),
    ("e4m3fnuz", lambda b: torch.where(b == 0x80, 0, b), (0x80, 0)),
    ("e5m2fnuz", lambda b: torch.where(b == 1, 0, b), (1, 0)),
):  # the NaNs and the smallest numbers, as a conversion there and back would leave them
    _dtype = getattr(torch, f"float8_{_name}")
    stored(
        f"float8_{_name}_converted",
        f"A float8_{_name} table is not copied but converted.",
        kind(_dtype),
        _bits(_wrong),
        _byte_table(_dtype, *_bytes),
    )
