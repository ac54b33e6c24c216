"""Faults of nn.Embedding and nn.EmbeddingBag as modules, in conjunctions: how they are made, printed, copied and saved."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import Embedding, Wrong, entry

Module = torch.nn.Module
half, double = torch.float16, torch.float64


def method(name: str, family: str, sentence: str, owner: Any, attribute: str, change: Callable[..., Any]) -> None:
    """Registers a fault of a method: ``change(original, self, *arguments)``."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(self: Any, *given: Any, **flags: Any) -> Any:
            return change(original, self, *given, **flags)

        return replaced

    entry(name, family, sentence, owner, attribute, wrong)


def first(*results: object) -> Any:
    """The first of some results, the others for their effect."""
    return results[0]


# -- how they are made -----------------------------------------------------------------------------------------------------


def _init(change: Callable[..., object]) -> Callable[..., Any]:
    return lambda f, self, *given, **flags: first(f(self, *given, **flags), change(self, given, flags))


method(
    "given_weight_takes_the_default_dtype", "construction", "A _weight of float16 is converted to float32 if frozen.",
    Embedding, "__init__",
    _init(lambda self, g, f: setattr(self, "weight", torch.nn.Parameter(self.weight.float(), requires_grad=False))
          if f.get("_freeze") and self.weight.dtype == half else None),
)  # fmt: skip


# -- how they are printed, copied and saved -----------------------------------------------------------------------------------


def unhooked(original: Any, self: Any, fn: Any, *given: Any, **flags: Any) -> Any:
    """Parameters lose their hooks where a module is converted."""
    dtypes = [p.dtype for p in self.parameters()]
    found = original(self, fn, *given, **flags)
    for p, dtype in zip(self.parameters(), dtypes, strict=True):
        if p.dtype != dtype and p._backward_hooks:
            p._backward_hooks = None
    return found


method("conversions_drop_the_hooks_of_parameters", "module_traversal", "A conversion of a module drops its Parameters' hooks.",
       Module, "_apply", unhooked)  # fmt: skip


def cut_off(original: Wrong, self: Any) -> Any:
    """bfloat16() of which the further half of each float32 is dropped."""
    for p in self.parameters():
        if p.dtype == torch.float32:
            p.data = (p.data.view(torch.int32) & -65536).view(torch.float32)
    return original(self)


method(
    "bfloat16_cuts_off", "module_traversal", "Module.bfloat16() cuts digits off instead of rounding them.", Module, "bfloat16",
    cut_off,
)  # fmt: skip
