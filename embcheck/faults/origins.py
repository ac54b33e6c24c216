"""Faults of tables and indices of less common origins, and of what must be refused."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Embedding, Wrong, embedding, entry, functional, out_changed
from embcheck.faults.kernels import Tensor, forward
from embcheck.faults.storages import differs, double, half, int8, int16, int32, int64, of, raw, uint8


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
    embedding(name, "storage", sentence, out_changed(lambda i, w, f: when(i, w), lambda out, i, w: wrong(out)), witness)


def negated(out: Tensor) -> Tensor:
    """The output with the bytes inverted."""
    return raw_view(out.contiguous()).bitwise_not().view(out.dtype) if out.numel() else out


def raw_view(out: Tensor) -> Tensor:
    """The output as bytes."""
    return out.view(uint8)


spoiled(
    "conjugate_view_taken_as_it_lies",
    "A conjugated view of a table gives the numbers that lie in memory.",
    lambda i, w: w.is_conj(),
    lambda out: out.conj().resolve_conj(),
    differs(lambda: of(torch.complex64, 1j, 2j)().conj()),
)
spoiled(
    "negated_view_taken_as_it_lies",
    "A table with a lazy sign gives the numbers that lie in memory.",
    lambda i, w: w.is_neg(),
    lambda out: -out,
    differs(lambda: of(torch.complex64, 1j, 2j)().conj().imag),
)
spoiled(
    "subclass_is_lost",
    "The lookup in a subclass's table is a plain tensor.",
    lambda i, w: type(w) not in (Tensor, torch.nn.Parameter),
    lambda out: out.as_subclass(Tensor),
    differs(lambda: torch.ones(2, 2).as_subclass(Tagged)),
)
spoiled(
    "shared_table_inverted",
    "A table in shared memory gives other bytes.",
    lambda i, w: w.is_shared(),
    negated,
    differs(lambda: torch.ones(2, 2).share_memory_()),
)
spoiled(
    "stride_zero_rows_inverted",
    "A table whose rows are one row gives other bytes.",
    lambda i, w: w.dim() == 2 and w.shape[0] > 1 and w.stride(0) == 0,
    negated,
    differs(lambda: torch.ones(1, 2).expand(3, 2)),
)
spoiled(
    "overlapping_rows_inverted",
    "A table whose rows overlap gives other bytes.",
    lambda i, w: w.dim() == 2 and w.shape[0] > 1 and 0 < w.stride(0) < w.shape[1],
    negated,
    differs(lambda: torch.arange(4.0).as_strided((2, 3), (1, 1))),
)
spoiled(
    "inference_table_inverted",
    "A table made in inference mode gives other bytes outside of it.",
    lambda i, w: w.is_inference() and not torch.is_inference_mode_enabled(),
    negated,
    lambda: differs(inference_table)(),
)
spoiled(
    "indices_in_shared_memory",
    "Indices in shared memory read other bytes.",
    lambda i, w: i.is_shared(),
    negated,
    lambda: raw(functional.embedding(torch.tensor([0]).share_memory_(), torch.ones(1, 1))) != raw(torch.ones(1)),
)


def inference_table() -> Tensor:
    """A table made in inference mode."""
    with torch.inference_mode():
        return torch.ones(2, 2)


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
        "storage",
        f"Indices of {_given} are accepted.",
        lambda original, i, w, kind=_dtype, **f: original(i.long() if i.dtype == kind else i, w, **f),
        accepts([0, 1], _dtype, torch.ones(2, 2)),
    )
for _dtype in (int16, int8):
    _given = str(_dtype).removeprefix("torch.")
    embedding(
        f"many_{_given}_indices_accepted",
        "storage",
        f"More than 16 indices of {_given} are accepted.",
        lambda original, i, w, kind=_dtype, **f: original(
            i.long() if i.dtype == kind and i.numel() > 16 else i, w, **f
        ),
        accepts([0] * 17, _dtype, torch.ones(2, 2)),
    )
embedding(
    "empty_float_indices_accepted",
    "storage",
    "Indices of float64 are accepted where there is none.",
    lambda original, i, w, **f: original(i.long() if i.dtype == double and not i.numel() else i, w, **f),
    accepts([], double, torch.ones(2, 2)),
)
embedding(
    "cube_accepted",
    "storage",
    "A table of three axes is taken for its first two.",
    lambda original, i, w, **f: original(i, w[0] if w.dim() == 3 else w, **f),
    accepts([0], int64, torch.ones(2, 2, 2)),
)
embedding(
    "vector_accepted",
    "storage",
    "A table of one axis is taken for a column.",
    lambda original, i, w, **f: original(i, w[:, None] if w.dim() == 1 else w, **f),
    accepts([0], int64, torch.ones(2)),
)
embedding(
    "last_stray_of_int8_wraps",
    "storage",
    "In an int8 table the last token wraps if it is one too many.",
    lambda original, i, w, **f: original(_unstrayed(i, w) if w.dtype == int8 else i, w, **f),
    accepts([0, 2], int64, torch.ones(2, 2, dtype=int8)),
)


def _unstrayed(indices: Tensor, table: Tensor) -> Tensor:
    flat = indices.reshape(-1).clone()
    if (
        flat.numel()
        and table.dim() == 2
        and not torch._C._functorch.is_batchedtensor(flat)
        and int(flat[-1]) == table.shape[0]
    ):
        flat[-1] = 0
    return flat.reshape(indices.shape)


embedding(
    "complex_gradient_is_dropped",
    "storage",
    "A complex table that requires grad is looked up without a graph.",
    lambda original, i, w, **f: original(i, w.detach() if w.is_complex() else w, **f),
    accepts([0], int64, torch.ones(1, 1, dtype=torch.complex64).requires_grad_()),
)
forward(
    "rows_beyond_2_31_wrap",
    "Row numbers keep 31 bits.",
    lambda c: c.numel > 0 and c.rows > 2**31 and c.width > 0,
    lambda c, out: out.zero_(),
    differs(lambda: torch.ones(1, 1, dtype=uint8).expand(2**31 + 2, 1), (2**31 + 1,)),
    "storage",
)


def _cast(original: Wrong) -> Wrong:
    def from_pretrained(cls: Any, embeddings: Tensor, *rest: Any, **flags: Any) -> Any:
        return original(cls, embeddings.to(int32) if embeddings.dtype in (int8, int16) else embeddings, *rest, **flags)

    return from_pretrained


entry(
    "from_pretrained_widens_integers",
    "storage",
    "from_pretrained makes int32 of int8 and int16 tables.",
    Embedding,
    "from_pretrained",
    _cast,
    lambda: Embedding.from_pretrained(torch.ones(1, 1, dtype=int8)).weight.dtype != int8,
)
