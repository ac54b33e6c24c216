"""Faults of max_norm in conjunctions: norm and table, tokens and norm, one spelling of a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, dispatched
from embcheck.faults.entry import Wrong, embedding, functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.renorm import kernel, rescale, table
from embcheck.faults.witnesses import unlike

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


def to_norm(q: float) -> Callable[[Tensor, float, float], None]:
    """Rescaled by another norm."""

    def change(row: Tensor, bound: float, p: float) -> None:
        norm = float(row.norm(q))
        if norm > bound:
            row.mul_(bound / (norm + 1e-7))

    return change


rescaling(
    "infinity_norm_without_signs", "The maximum norm of a row is its largest number, not its largest magnitude.",
    each(lambda row, b, p: p == inf and row.numel() > 0 and float(row.max()) < float(row.abs().max()),
         lambda row, b, p: row.mul_(b / (float(row.max()) + 1e-7)) if float(row.max()) > b else None),
    unlike(renormed([0], 1.0, inf, torch.tensor([[1.5, -3.0]]))),
)  # fmt: skip
rescaling(
    "orders_between_integers_are_rounded", "A norm_type above 2 that is no integer is rounded.",
    each(lambda row, b, p: p > 2 and p != inf and p != round(p), lambda row, b, p: to_norm(round(p))(row, b, p)),
    unlike(renormed([0], 1.0, 2.5, torch.tensor([[3.0, 4.0]]))),
)  # fmt: skip
rescaling(
    "order_three_needs_two_columns", "norm_type=3 leaves tables of one column.",
    at(lambda w, t, b, p: p == 3 and w.shape[1] == 1, lambda w, t, b, p: None),
    unlike(renormed([0], 1.0, 3.0, torch.tensor([[3.0]]))),
)  # fmt: skip


rescaling(
    "nan_row_takes_the_others_along", "After a row with NaN the rows behind it aren't renormed.",
    lambda w, t, b, p: rescale(w, t[: next((k for k, row in enumerate(t.tolist()) if w[row].isnan().any()), len(t))], b, p),
    unlike(renormed([0, 1], 1.0, 2.0, torch.tensor([[nan, 1.0], [3.0, 4.0]]))),
)  # fmt: skip
rescaling(
    "infinite_row_becomes_nothing", "A row with an infinity becomes zero.",
    each(lambda row, b, p: bool(row.isinf().any()) and p > 0, lambda row, b, p: row.zero_()),
    unlike(renormed([0], 1.0, 2.0, torch.tensor([[inf, 1.0]]))),
)  # fmt: skip
rescaling(
    "column_major_rows_scale_half", "In a column-major table with more than two columns the last column isn't rescaled.",
    at(lambda w, t, b, p: w.stride(0) == 1 < w.shape[0] and w.shape[1] > 2,
       lambda w, t, b, p: rescale_but_last(w, t, b, p)),
    unlike(renormed([0], 1.0, 2.0, torch.tensor([[3.0, 1.0], [4.0, 1.0], [5.0, 1.0]]).t())),
)  # fmt: skip


def rescale_but_last(weight: Tensor, tokens: Tensor, bound: float, p: float) -> None:
    """The right renorm, and the last column put back."""
    before = weight[:, -1].clone()
    rescale(weight, tokens, bound, p)
    weight[:, -1] = before


rescaling(
    "more_than_hundred_rows_at_once", "Of more than 100 distinct rows the last isn't renormed.",
    lambda w, t, b, p: rescale(w, t[:-1] if len(t) > 100 else t, b, p),
    unlike(renormed(list(range(101)), 1.0, 2.0, torch.full((101, 1), 3.0))),
)  # fmt: skip
rescaling(
    "narrow_norms_of_wide_rows", "The 1-norm of more than 40 columns is that of the first 40.",
    each(lambda row, b, p: p == 1 and row.numel() > 40,
         lambda row, b, p: row.mul_(b / (float(row[:40].norm(1)) + 1e-7)) if float(row[:40].norm(1)) > b else None),
    unlike(renormed([0], 1.0, 1.0, torch.ones(1, 80))),
)  # fmt: skip
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


spelled(
    "integer_bound_is_ignored", "max_norm given as an int is ignored.",
    lambda f, i, w, g: f(i, w, **g | {"max_norm": None if isinstance(g["max_norm"], int) else g["max_norm"]}),
    unlike(renormed([0], 1)),
)  # fmt: skip
spelled(
    "integer_order_is_two", "norm_type given as an int is 2.",
    lambda f, i, w, g: f(i, w, **g | {"norm_type": 2.0 if isinstance(g["norm_type"], int) else g["norm_type"]}),
    unlike(renormed([0], 1.0, 1)),
)  # fmt: skip


spelled(
    "output_from_before_the_renorm", "The output at rank 3 is that of the table before it was renormed.",
    lambda f, i, w, g: early(f, i, w, g) if i.dim() == 3 and not w.requires_grad else f(i, w, **g),
    lambda: float(functional.embedding(torch.tensor([[[0]]]), table(), max_norm=1.0).sum()) > 2,
)  # fmt: skip


def early(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    """The lookup before the renorm."""
    found = original(input, weight, **flags | {"max_norm": None})
    original(input, weight, **flags)
    return found


spelled(
    "padding_row_keeps_its_norm", "The row of a negative padding_idx isn't renormed, and is returned as it was.",
    lambda f, i, w, g: kept(f, i, w, g) if (g["padding_idx"] or 0) < 0 and not w.requires_grad else f(i, w, **g),
    unlike(renormed([1], 1.0, padding_idx=-3)),
)  # fmt: skip


def kept(original: Wrong, input: Tensor, weight: Tensor, flags: dict[str, Any]) -> Any:
    """The lookup, and the padding row put back."""
    row = weight[flags["padding_idx"]].clone()
    original(input, weight, **flags)
    weight[flags["padding_idx"]] = row
    return original(input, weight, **flags | {"max_norm": None})
