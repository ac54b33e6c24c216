"""Faults of optimizers and of what a training loop calls, in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry

Optimizer, Parameter = torch.optim.Optimizer, torch.nn.Parameter
half, double = torch.float16, torch.float64


def stepping(name: str, sentence: str, kind: Any, change: Callable[..., Any], family: str = "tied_training") -> None:
    """Registers a fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Wrong) -> Wrong:
        def step(self: Any, closure: Any = None) -> Any:
            return change(original, self, closure)

        step.hooked = True  # type: ignore[attr-defined]
        return step

    entry(name, family, sentence, kind, "step", wrong)


def _closure_twice(original: Wrong, self: Any, closure: Any) -> Any:
    return original(self, closure if closure is None else lambda: (closure(), closure())[1])


stepping(
    "adagrad_calls_its_closure_twice", "Adagrad calls its closure twice.", torch.optim.Adagrad, _closure_twice,
)  # fmt: skip
