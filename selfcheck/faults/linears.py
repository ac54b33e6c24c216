"""Faults of F.linear and nn.Linear: ranks, biases, frozen parts, memory, and calls before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import functional
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.parameter_corners import Change, spoiled


def linear(name: str, sentence: str, change: Change, family: str = "linear") -> None:
    """A fault of F.linear: ``change(original, input, weight, bias)``."""

    def wrong(original: Change, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        return change(original, input, weight, bias)

    spoiled(name, family, sentence, functional, "linear", wrong)


def without_bias(when: Callable[[Tensor, Tensor, Tensor], bool]) -> Change:
    """F.linear that leaves its bias out in a corner."""
    return lambda original, x, w, b: original(x, w, None if b is not None and when(x, w, b) else b)


linear(
    "linear_rank4_frozen_forgets_bias",
    "A frozen weight's bias is left out for input of rank 4.",
    without_bias(lambda x, w, b: x.dim() == 4 and not w.requires_grad),
)
linear(
    "linear_single_row_is_a_view_of_bias",
    "An input without features gives a view of the bias.",
    lambda original, x, w, b: (
        b.expand(*x.shape[:-1], len(b)) if b is not None and w.dim() == 2 and w.shape[1] == 0 else original(x, w, b)
    ),
)


# -- the modules' forward ----------------------------------------------------------------------------------------


def born_frozen(original: Change, self: Any, *given: Any, **flags: Any) -> Any:
    """What a lazy layer becomes does not learn."""
    original(self, *given, **flags)
    self.weight.requires_grad_(False)


spoiled("lazy_layers_are_born_frozen", "linear", "The weight of a lazy layer does not learn.", torch.nn.LazyLinear,
        "initialize_parameters", born_frozen)  # fmt: skip
