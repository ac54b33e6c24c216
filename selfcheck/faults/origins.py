"""Faults of tables and indices of less common origins, and of what must be refused."""

from __future__ import annotations

from collections.abc import Callable

import torch

from selfcheck.faults.entry import embedding, out_changed
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.storages import half, int16, uint8


def spoiled(
    name: str,
    sentence: str,
    when: Callable[[Tensor, Tensor], bool],
    wrong: Callable[[Tensor], Tensor],
) -> None:
    """F.embedding with another output for some tables and indices."""
    embedding(
        name, "dtypes_and_storage", sentence, out_changed(lambda i, w, f: when(i, w), lambda out, i, w: wrong(out))
    )


def negated(out: Tensor) -> Tensor:
    """The output with the bytes inverted."""
    return raw_view(out.contiguous()).bitwise_not().view(out.dtype) if out.numel() else out


def raw_view(out: Tensor) -> Tensor:
    """The output as bytes."""
    return out.view(uint8)


spoiled(
    "indices_in_shared_memory",
    "Indices in shared memory read other bytes.",
    lambda i, w: i.is_shared(),
    negated,
)


# -- what must be refused --------------------------------------------------------------------------------------------------


for _dtype in (int16, uint8, torch.bool, torch.float32, half):
    _given = str(_dtype).removeprefix("torch.")
    embedding(
        f"{_given}_indices_accepted",
        "dtypes_and_storage",
        f"Indices of {_given} are accepted.",
        lambda original, i, w, kind=_dtype, **f: original(i.long() if i.dtype == kind else i, w, **f),
    )
