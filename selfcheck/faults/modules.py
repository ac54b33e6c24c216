"""Faults of what may happen to a module: its parts, its conversions, its copies, its hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.layers import Module
from selfcheck.faults.parameter_corners import Change, spoiled

Linear, Sequential = torch.nn.Linear, torch.nn.Sequential


def module(name: str, sentence: str, attribute: str, change: Change, family: str = "module_traversal") -> None:
    """A fault of a method of Module: ``change(original, self, *arguments)``."""
    spoiled(name, family, sentence, Module, attribute, change)


# -- listing -----------------------------------------------------------------------------------------------------

module(
    "duplicates_are_removed_always",
    "named_parameters(remove_duplicate=False) lists a tied Parameter once.",
    "named_parameters",
    lambda original, self, prefix="", recurse=True, remove_duplicate=True: original(self, prefix, recurse, True),
)
module(
    "parameters_skip_frozen",
    "parameters() leaves out frozen vectors.",
    "parameters",
    lambda original, self, recurse=True: iter([p for p in original(self, recurse) if p.requires_grad or p.dim() != 1]),
)
module(
    "modules_repeat_shared",
    "named_modules() lists a shared module under both of its names.",
    "named_modules",
    lambda original, self, memo=None, prefix="", remove_duplicate=True: original(self, memo, prefix, False),
)
module(
    "children_are_reversed",
    "named_children() comes in reverse.",
    "named_children",
    lambda original, self: iter(list(original(self))[::-1]),
)


# -- conversions -------------------------------------------------------------------------------------------------


def each(self: Any, when: Callable[[Any], bool], act: Callable[[Any, str, Any], object]) -> None:
    """Does something to each own parameter that meets a condition."""
    for name, value in list(self._parameters.items()):
        if value is not None and when(value):
            act(self, name, value)


def contiguous(self: Any, name: str, value: Any) -> None:
    """The same Parameter in contiguous memory."""
    value.data = value.data.contiguous()


# -- copies ------------------------------------------------------------------------------------------------------

spoiled(
    "pickle_loses_evaluation",
    "tie_preservation",
    "An unpickled module is in training mode.",
    Module,
    "__setstate__",
    lambda original, self, state: original(self, state | {"training": True}),
)
