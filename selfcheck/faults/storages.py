"""Faults of tables of less common dtypes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from selfcheck.faults.kernels import Spoil, Tensor, When, forward

int8, uint8, int16, int32, int64 = torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64
half, double = torch.float16, torch.float64


def stored(name: str, sentence: str, when: When, spoil: Spoil) -> None:
    """A fault of the forward kernel for one kind of table."""
    forward(name, sentence, lambda c: c.numel * c.width > 0 and when(c), spoil, "dtypes_and_storage")


def kind(dtype: torch.dtype) -> When:
    """Tables of a dtype."""
    return lambda call: call.given.dtype == dtype


def _bits(change: Callable[[Tensor], Tensor]) -> Spoil:
    return lambda call, out: change(out.contiguous().view(uint8)).view(out.dtype)


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
    )
