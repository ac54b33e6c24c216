"""Faults of optimizers and of what a training loop calls, in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import Wrong, entry

Optimizer, Parameter = torch.optim.Optimizer, torch.nn.Parameter
half, double = torch.float16, torch.float64


def leaf(rows: int = 2, width: int = 2, dtype: torch.dtype = torch.float32, column: bool = False) -> Any:
    """A Parameter of ones with a gradient of ones."""
    data = torch.ones(width, rows, dtype=dtype).t() if column else torch.ones(rows, width, dtype=dtype)
    made = Parameter(data)
    made.grad = torch.ones_like(made)
    return made


def stepping(
    name: str, sentence: str, kind: Any, change: Callable[..., Any], witness: Witness, family: str = "tied_training"
) -> None:
    """Registers a fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Wrong) -> Wrong:
        def step(self: Any, closure: Any = None) -> Any:
            return change(original, self, closure)

        step.hooked = True  # type: ignore[attr-defined]
        return step

    entry(name, family, sentence, kind, "step", wrong, witness)


def _closure_twice(original: Wrong, self: Any, closure: Any) -> Any:
    return original(self, closure if closure is None else lambda: (closure(), closure())[1])


def closure_calls() -> int:
    """How often step calls its closure."""
    calls = [0]
    torch.optim.Adagrad([leaf()]).step(lambda: calls.__setitem__(0, calls[0] + 1) or 0.0)
    return calls[0]


stepping(
    "adagrad_calls_its_closure_twice", "Adagrad calls its closure twice.", torch.optim.Adagrad, _closure_twice,
    lambda: closure_calls() != 1,
)  # fmt: skip
