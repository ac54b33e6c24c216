"""Faults of F.one_hot, F.linear and of transposed Parameters that depend on a pattern, a rank or an earlier call."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry, functional
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.modules import Linear
from selfcheck.faults.parameters import Parameter

Call = Callable[..., Any]


def columns_first(weight: Tensor) -> bool:
    """Whether a matrix is the transposed view of a contiguous one."""
    return weight.dim() == 2 and not weight.is_contiguous() and weight.t().is_contiguous()


entry(
    "transposed_square_is_a_copy", "conversion", "Tensor.t() of a square leaf is a copy.", torch.Tensor, "t",
    lambda original: lambda self: original(self).clone()
    if self.dim() == 2 and self.is_leaf and self.shape[0] == self.shape[1] > 1 and self.requires_grad else original(self),
)  # fmt: skip


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
entry(
    "linear_evaluates_without_bias", "conversion", "In eval mode a column-major weight of a linear layer forgets its bias.",
    Linear, "forward",
    lambda original: lambda self, input: original(self, input)
    if self.training or self.bias is None or not columns_first(self.weight) else functional.linear(input, self.weight),
)  # fmt: skip
