"""Faults of containers of modules and of Parameters."""

from __future__ import annotations

import copy
from typing import Any

import torch

from embcheck.faults.around import around, numbered

Module = Any
nn = torch.nn


def namesake(original: Any, self: Module, target: str, module: Module, *given: Any) -> None:
    """A nested target replaces the model's own child of that last name, if it has one."""
    last = target.rsplit(".", 1)[-1]
    if "." in target and last in self._modules:
        setattr(self, last, module)
    else:
        original(self, target, module, *given)


def copying_frozen(original: Any, self: Module, at: Any) -> Any:
    """A slice has copies of the frozen Parameters."""
    found = original(self, at)
    if isinstance(at, slice):
        for k, held in enumerate(found):
            if not held.requires_grad:
                found[k] = nn.Parameter(held.detach().clone(), False)
    return found


def still_there(original: Any, self: Module, key: str) -> Any:
    """What is popped stays among the parameters."""
    found = original(self, key)
    self.register_parameter(key, found)
    return found


def copied(original: Any, self: Module, at: Any) -> Any:
    """A slice in evaluation mode is a copy."""
    found = original(self, at)
    return copy.deepcopy(found) if isinstance(at, slice) and not self.training else found


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


def placed() -> list[str]:
    """Whether a nested module is replaced, and one of that name above is not."""
    model: Module = nn.Module()
    model.words, model.inner = nn.Embedding(3, 2), nn.Module()
    model.inner.words, new = nn.Embedding(3, 2), nn.Linear(2, 3)
    if hasattr(model, "set_submodule"):
        model.set_submodule("inner.words", new)
    return [type(model.words).__name__, type(model.inner.words).__name__]


def sliced_parameters() -> bool:
    """Whether a slice of a list has the very Parameters."""
    held = nn.Parameter(numbered(), False)
    return nn.ParameterList([held, held])[1:][0] is held


def popped() -> int:
    """How many Parameters are left after the only one was popped."""
    held = nn.ParameterDict({"a": nn.Parameter(numbered())})
    held.pop("a")
    return len(list(held.parameters()))


def sliced_modules() -> bool:
    """Whether a slice of modules in evaluation mode has the very modules."""
    held: Module = nn.Sequential(nn.Embedding(3, 2), nn.Linear(2, 3)).eval()
    return held[:1][0] is held[0]


def inserted() -> bool:
    """Whether something can be inserted behind the last."""
    held = nn.ModuleList([nn.Embedding(3, 2)])
    try:
        held.insert(1, nn.Linear(2, 3))
    except IndexError:
        return False
    return True


def replaced() -> Any:
    """A Parameter once another one has its place."""
    held = nn.Parameter(numbered())
    nn.ParameterList([held])[0] = nn.Parameter(numbered())
    return held.detach()


if hasattr(nn.Module, "set_submodule"):  # since torch 2.5
    around("nested_targets_replace_a_namesake", "container", "set_submodule of a nested target replaces a child of that name.",
           nn.Module, "set_submodule", namesake, placed)  # fmt: skip
around("sliced_lists_copy_the_frozen", "container", "A slice of a ParameterList has copies of the frozen Parameters.",
       nn.ParameterList, "__getitem__", copying_frozen, sliced_parameters)  # fmt: skip
around("popped_parameters_are_listed", "container", "A Parameter that is popped from a ParameterDict is still listed.",
       nn.ParameterDict, "pop", still_there, popped)  # fmt: skip
around("evaluating_slices_are_copies", "container", "A slice of a Sequential in evaluation mode is a copy.",
       nn.Sequential, "__getitem__", copied, sliced_modules)  # fmt: skip
around("lists_take_nothing_behind_the_last", "container", "ModuleList.insert refuses the place behind the last.",
       nn.ModuleList, "insert", no_end, inserted)  # fmt: skip
around("replaced_parameters_become_zero", "container", "A Parameter that is replaced in a ParameterList becomes zero.",
       nn.ParameterList, "__setitem__", cleared, replaced)  # fmt: skip
