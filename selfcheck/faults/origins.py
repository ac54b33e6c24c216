"""Faults of tables and indices of less common origins, and of what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import embedding, functional, out_changed
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.storages import differs, half, int16, raw, uint8


class Tagged(torch.Tensor):
    """A subclass that adds nothing."""


def spoiled(
    name: str,
    sentence: str,
    when: Callable[[Tensor, Tensor], bool],
    wrong: Callable[[Tensor], Tensor],
    witness: Witness,
) -> None:
    """F.embedding with another output for some tables and indices."""
    embedding(name, "dtypes_and_storage", sentence, out_changed(lambda i, w, f: when(i, w), lambda out, i, w: wrong(out)), witness)


def negated(out: Tensor) -> Tensor:
    """The output with the bytes inverted."""
    return raw_view(out.contiguous()).bitwise_not().view(out.dtype) if out.numel() else out


def raw_view(out: Tensor) -> Tensor:
    """The output as bytes."""
    return out.view(uint8)


spoiled(
    "subclass_is_lost",
    "The lookup in a subclass's table is a plain tensor.",
    lambda i, w: type(w) not in (Tensor, torch.nn.Parameter),
    lambda out: out.as_subclass(Tensor),
    differs(lambda: torch.ones(2, 2).as_subclass(Tagged)),
)
spoiled(
    "indices_in_shared_memory",
    "Indices in shared memory read other bytes.",
    lambda i, w: i.is_shared(),
    negated,
    lambda: raw(functional.embedding(torch.tensor([0]).share_memory_(), torch.ones(1, 1))) != raw(torch.ones(1)),
)


# -- what must be refused --------------------------------------------------------------------------------------------------


def accepts(tokens: Any, dtype: torch.dtype, table: Tensor) -> Witness:
    """Whether F.embedding accepts what it must refuse."""

    def witness() -> bool:
        try:
            functional.embedding(torch.tensor(tokens, dtype=dtype), table)
        except (RuntimeError, IndexError):
            return False
        return True

    return witness


for _dtype in (int16, uint8, torch.bool, torch.float32, half):
    _given = str(_dtype).removeprefix("torch.")
    embedding(
        f"{_given}_indices_accepted",
        "dtypes_and_storage",
        f"Indices of {_given} are accepted.",
        lambda original, i, w, kind=_dtype, **f: original(i.long() if i.dtype == kind else i, w, **f),
        accepts([0, 1], _dtype, torch.ones(2, 2)),
    )
