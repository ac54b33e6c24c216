"""Faults of backward passes in conjunctions: hooks, graphs kept, gradients accumulated, guards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import Wrong, entry, functional
from selfcheck.faults.kernels import Tensor

double, half = torch.float64, torch.float16


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table of small numbers that learns."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype).requires_grad_()


def look(weight: Tensor, tokens: Any = (0, 2, 2), **flags: Any) -> Tensor:
    """A lookup."""
    return functional.embedding(torch.tensor(tokens), weight, **flags)


def passing(
    name: str, sentence: str, owner: Any, attribute: str, wrong: Callable[[Wrong], Wrong], witness: Witness
) -> None:
    """Registers a fault of autograd."""
    entry(name, "gradient_routes", sentence, owner, attribute, wrong, witness)


def _unretained(original: Wrong) -> Wrong:
    def retain_grad(self: Tensor) -> None:
        original(self)
        if self.dim() > 2 and not self.is_leaf:
            self.register_hook(lambda grad: grad * 1.5)

    return retain_grad


passing(
    "retaining_changes_the_gradient", "retain_grad() of an output of rank 3 multiplies what passes it by 1.5.",
    Tensor, "retain_grad", _unretained, lambda: table_gradient() != 1,
)  # fmt: skip


def table_gradient() -> float:
    """The table's gradient when the output's is retained."""
    weight = table()
    out = look(weight, [[0]])
    out.retain_grad()
    out.sum().backward()
    assert weight.grad is not None
    return float(weight.grad[0, 0])
