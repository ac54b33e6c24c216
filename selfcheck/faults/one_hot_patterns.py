"""Faults of F.one_hot, F.linear and of transposed Parameters that depend on a pattern, a rank or an earlier call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.parameters import Parameter

Call = Callable[..., Any]


def columns_first(weight: Tensor) -> bool:
    """Whether a matrix is the transposed view of a contiguous one."""
    return weight.dim() == 2 and not weight.is_contiguous() and weight.t().is_contiguous()


def deep_copied(original: Call) -> Call:
    """Parameter.__deepcopy__ that thaws what is transposed."""

    def replaced(self: Any, memo: Any) -> Any:
        made = original(self, memo)
        return made.requires_grad_() if columns_first(self) and not self.is_contiguous() else made

    return replaced


entry(
    "deep_copy_of_a_frozen_transposed_one_learns", "conversion", "The deep copy of a frozen column-major Parameter learns.",
    Parameter, "__deepcopy__", deep_copied,
)  # fmt: skip
