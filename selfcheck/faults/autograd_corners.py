"""Faults of backward passes in conjunctions: hooks, graphs kept, gradients accumulated, guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry
from selfcheck.faults.kernels import Tensor

double, half = torch.float64, torch.float16


def passing(name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[[Wrong], Wrong]) -> None:
    """Registers a fault of autograd."""
    entry(name, "gradient_routes", sentence, owner, attribute, wrong)


def _unretained(original: Wrong) -> Wrong:
    def retain_grad(self: Tensor) -> None:
        original(self)
        if self.dim() > 2 and not self.is_leaf:
            self.register_hook(lambda grad: grad * 1.5)

    return retain_grad


passing(
    "retaining_changes_the_gradient", "retain_grad() of an output of rank 3 multiplies what passes it by 1.5.",
    Tensor, "retain_grad", _unretained,
)  # fmt: skip
