"""Faults of containers of modules and of Parameters."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

Module = Any
nn = torch.nn


def copying_frozen(original: Any, self: Module, at: Any) -> Any:
    """A slice has copies of the frozen Parameters."""
    found = original(self, at)
    if isinstance(at, slice):
        for k, held in enumerate(found):
            if not held.requires_grad:
                found[k] = nn.Parameter(held.detach().clone(), False)
    return found


def no_end(original: Any, self: Module, index: int, module: Module) -> Any:
    """Nothing is inserted behind the last."""
    if index == len(self) > 0:
        raise IndexError(f"index {index} is out of range")
    return original(self, index, module)


def cleared(original: Any, self: Module, at: int, held: Any) -> None:
    """A Parameter that is replaced is set to zero."""
    there = getattr(self, str(at % len(self)), held)
    if there is not held:
        there.data.zero_()
    original(self, at, held)


def any_name(original: Any, self: Module, key: str, module: Any) -> None:
    """A name with a dot is one with an underscore."""
    original(self, key.replace(".", "_") if isinstance(key, str) else key, module)


def vacated(original: Any, self: Module, key: str, module: Any) -> None:
    """What is no module is refused, once its place was cleared."""
    if not isinstance(module, nn.Module):
        self._modules.pop(key, None)
    original(self, key, module)


around("sliced_lists_copy_the_frozen", "module_containers", "A slice of a ParameterList has copies of the frozen Parameters.",
       nn.ParameterList, "__getitem__", copying_frozen)  # fmt: skip
around("lists_take_nothing_behind_the_last", "module_containers", "ModuleList.insert refuses the place behind the last.",
       nn.ModuleList, "insert", no_end)  # fmt: skip
around("replaced_parameters_become_zero", "module_containers", "A Parameter that is replaced in a ParameterList becomes zero.",
       nn.ParameterList, "__setitem__", cleared)  # fmt: skip
around("dotted_names_are_taken", "module_containers", "ModuleDict takes a name with a dot, for which no path leads to the module.",
       nn.ModuleDict, "__setitem__", any_name)  # fmt: skip
around("refused_modules_clear_the_place", "module_containers",
       "A ModuleDict that refuses what is no module loses what it had there.",
       nn.ModuleDict, "__setitem__", vacated)  # fmt: skip
