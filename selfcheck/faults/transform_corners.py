"""Faults of torch.func and of torch.autograd's functional calls in conjunctions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry
from selfcheck.faults.kernels import Tensor

func = torch.func


def transform(name: str, attribute: str, sentence: str, wrong: Callable[[Wrong], Wrong]) -> None:
    """Registers a fault of a function of torch.func."""
    entry(name, "func_transforms", sentence, func, attribute, wrong)


transform(
    "functional_call_leaves_the_weights", "functional_call", "After a refused functional_call the module has the given weights.",
    lambda original: lambda module, given, *rest, **flags: _leaving(original, module, given, rest, flags),
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
