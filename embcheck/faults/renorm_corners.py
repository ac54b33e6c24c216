"""Faults of max_norm in conjunctions: norm and table, tokens and norm, one spelling of a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, dispatched
from embcheck.faults.entry import Wrong, embedding, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.renorm import kernel, rescale, table

inf, nan = float("inf"), float("nan")


def renormed(
    tokens: Any,
    max_norm: float,
    norm_type: float = 2.0,
    weight: Tensor | None = None,
    index_dtype: Any = None,
    **flags: Any,
) -> Callable[[], Any]:
    """A probe: the table after a lookup."""

    def probe() -> Tensor:
        found = table() if weight is None else weight.clone(memory_format=torch.preserve_format)
        functional.embedding(
            torch.tensor(tokens, dtype=index_dtype), found, max_norm=max_norm, norm_type=norm_type, **flags
        )
        return (found * 64).round()

    return probe


def rescaling(
    name: str, sentence: str, change: Callable[[Tensor, Tensor, float, float], None], witness: Witness
) -> None:
    """Registers a fault of embedding_renorm_: ``change(weight, distinct tokens, max_norm, norm_type)``."""

    def plant() -> Any:
        return dispatched({"embedding_renorm_": kernel(change)})

    add(Fault(name, "renorm", sentence, plant, witness))


def at(when: Callable[[Tensor, Tensor, float, float], bool], change: Callable[..., None]) -> Callable[..., None]:
    """``change`` on some calls, the right renorm on the others."""
    return lambda weight, tokens, bound, p: (change if when(weight, tokens, bound, p) else rescale)(
        weight, tokens, bound, p
    )


def each(
    when: Callable[[Tensor, float, float], bool], change: Callable[[Tensor, float, float], object]
) -> Callable[..., None]:
    """``change(row, max_norm, norm_type)`` for some rows, the right renorm for the others."""

    def scale(weight: Tensor, tokens: Tensor, bound: float, p: float) -> None:
        for token in tokens.tolist():
            row = weight[token]
            if when(row, bound, p):
                change(row, bound, p)
            else:
                rescale(weight, torch.tensor([token]), bound, p)

    return scale


rescaling(
    "signs_of_zeros_are_lost", "Renormed rows of float64 have no −0.0.",
    lambda w, t, b, p: plus_zero(w, t, b, p),
    lambda: str(renormed_zero()) != "tensor(-0., dtype=torch.float64)",
)  # fmt: skip


def plus_zero(weight: Tensor, tokens: Tensor, bound: float, p: float) -> None:
    """The right renorm, and 0.0 added to a float64 table that isn't contiguous."""
    rescale(weight, tokens, bound, p)
    if weight.dtype == torch.float64 and not weight.is_contiguous():
        weight.add_(0.0)


def renormed_zero() -> Tensor:
    """The −0.0 of a renormed row of a column-major table."""
    weight = torch.tensor([[-0.0, 1.0], [9.0, 1.0]], dtype=torch.float64).t()
    functional.embedding(torch.tensor([0]), weight, max_norm=1.0)
    return weight[0, 0]


def spelled(name: str, sentence: str, wrong: Callable[..., Any], witness: Witness) -> None:
    """Registers a fault of F.embedding with max_norm."""

    def replaced(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Any:
        return (
            wrong(original, input, weight, flags) if flags["max_norm"] is not None else original(input, weight, **flags)
        )

    embedding(name, "renorm", sentence, replaced, witness)


def kept(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    """The lookup, and the padding row put back."""
    row = weight[flags["padding_idx"]].clone()
    original(input, weight, **flags)
    weight[flags["padding_idx"]] = row
    return original(input, weight, **flags | {"max_norm": None})
