"""Faults of max_norm in conjunctions: norm and table, tokens and norm, one spelling of a number."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Fault, add, dispatched
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.renorm import kernel, rescale

inf, nan = float("inf"), float("nan")


def rescaling(name: str, sentence: str, change: Callable[[Tensor, Tensor, float, float], None]) -> None:
    """Registers a fault of embedding_renorm_: ``change(weight, distinct tokens, max_norm, norm_type)``."""

    def plant() -> Any:
        return dispatched({"embedding_renorm_": kernel(change)})

    add(Fault(name, "max_norm", sentence, plant))


rescaling(
    "signs_of_zeros_are_lost", "Renormed rows of float64 have no −0.0.",
    lambda w, t, b, p: plus_zero(w, t, b, p),
)  # fmt: skip


def plus_zero(weight: Tensor, tokens: Tensor, bound: float, p: float) -> None:
    """The right renorm, and 0.0 added to a float64 table that isn't contiguous."""
    rescale(weight, tokens, bound, p)
    if weight.dtype == torch.float64 and not weight.is_contiguous():
        weight.add_(0.0)
