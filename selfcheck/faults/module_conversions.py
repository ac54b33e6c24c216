"""Faults of what may happen to a module: conversion, copies and pickles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.layers import Module
from selfcheck.faults.parameters import Parameter


def _apply_unties(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        if isinstance(self, torch.nn.Linear) and self.weight.dtype == torch.float64:
            self.weight = Parameter(self.weight.data, self.weight.requires_grad)
        return self

    return _apply


entry(
    "conversion_to_double_unties",
    "tie_preservation",
    "double() breaks the tie of a Linear.",
    Module,
    "_apply",
    _apply_unties,
)


def deepcopying(name: str, sentence: str, change: Callable[..., Any]) -> None:
    """A fault of Parameter.__deepcopy__: ``change(original, self, memo)``."""
    entry(
        name,
        "tie_preservation",
        sentence,
        Parameter,
        "__deepcopy__",
        lambda original: lambda self, memo: change(original, self, memo),
    )


deepcopying(
    "deepcopy_shares_memory",
    "A deep copy of float16 lies in the original's memory.",
    lambda original, self, memo: (
        memo.setdefault(id(self), Parameter(self.data, self.requires_grad))
        if self.dtype == torch.float16
        else original(self, memo)
    ),
)
