"""Faults of torch.func and of torch.autograd's functional calls in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, entry, functional
from embcheck.faults.kernels import Tensor

double = torch.float64
func = torch.func


def table(rows: int = 3, width: int = 2, dtype: torch.dtype = torch.float32) -> Tensor:
    """A table of small numbers."""
    return torch.arange(1, 1 + rows * width).reshape(rows, width).to(dtype)


def look(weight: Tensor) -> Tensor:
    """Three tokens of a table."""
    return functional.embedding(torch.tensor([0, 2, 2]), weight)


def square(weight: Tensor) -> Tensor:
    """The sum of squares of the lookup."""
    return (look(weight) ** 2).sum()


def transform(name: str, attribute: str, sentence: str, wrong: Callable[[Wrong], Wrong], witness: Witness) -> None:
    """Registers a fault of a function of torch.func."""
    entry(name, "transform", sentence, func, attribute, wrong, witness)


def called(change: Callable[[Any, tuple[Any, ...], dict[str, Any]], Any]) -> Callable[[Wrong], Wrong]:
    """``change(result, arguments, flags)`` on a function's result."""

    def wrong(original: Wrong) -> Wrong:
        return lambda *given, **flags: change(original(*given, **flags), given, flags)

    return wrong


def built(when: Callable[..., bool], change: Callable[..., Any]) -> Callable[[Wrong], Wrong]:
    """``change(result, what the built function was called with)`` if ``when(the transform's flags)``."""

    def wrong(original: Wrong) -> Wrong:
        def transform(function: Any, *given: Any, **flags: Any) -> Any:
            made = original(function, *given, **flags)
            if not when(given, flags):
                return made
            return lambda *called, **named: change(made(*called, **named), called)

        return transform

    return wrong


def always(given: Any, flags: Any) -> bool:
    """On every call."""
    return True


transform(
    "functional_call_leaves_the_weights", "functional_call", "After a refused functional_call the module has the given weights.",
    lambda original: lambda module, given, *rest, **flags: _leaving(original, module, given, rest, flags),
    lambda: left_behind(),
)  # fmt: skip


def _leaving(original: Wrong, module: Any, given: Any, rest: Any, flags: Any) -> Any:
    try:
        return original(module, given, *rest, **flags)
    except (IndexError, RuntimeError):
        if isinstance(given, dict):
            for name, value in given.items():
                if "." not in name and isinstance(value, Tensor) and name in module._parameters:
                    module._parameters[name].data = value.detach()
        raise


def left_behind() -> bool:
    """Whether a refused call leaves its weights in the module."""
    module = torch.nn.Embedding(1, 1)
    before = module.weight.detach().clone()
    try:
        func.functional_call(module, {"weight": before + 1}, (torch.tensor([5]),))
    except (IndexError, RuntimeError):
        pass
    return not torch.equal(module.weight.detach(), before)


def derivative(name: str, attribute: str, sentence: str, wrong: Callable[[Wrong], Wrong], witness: Witness) -> None:
    """Registers a fault of a function of torch.autograd.functional."""
    entry(name, "transform", sentence, torch.autograd.functional, attribute, wrong, witness)
