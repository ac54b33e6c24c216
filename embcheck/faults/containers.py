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


def unextended(original: Any, self: Module, values: Any) -> Any:
    """A list that is extended by itself stays as it is."""
    return self if values is self else original(self, values)


def apart(original: Any, self: Module, other: Any) -> Any:
    """What is added to itself has copies of what it had."""
    return original(self, copy.deepcopy(other) if other is self else other)


def emptied(original: Any, self: Module, given: Any) -> None:
    """What is updated by itself is emptied."""
    if given is self:
        self.clear()
    else:
        original(self, given)


def lenient(original: Any, self: Module, key: str) -> Any:
    """Nothing is popped of a key that is missing."""
    return original(self, key) if key in self else None


def around_the_start(original: Any, self: Module, at: Any) -> Any:
    """A place before the first is counted from the end once more."""
    if not isinstance(at, slice) and -2 * len(self) <= at < -len(self):
        at += len(self)
    return original(self, at)


def any_name(original: Any, self: Module, key: str, module: Any) -> None:
    """A name with a dot is one with an underscore."""
    original(self, key.replace(".", "_") if isinstance(key, str) else key, module)


def vacated(original: Any, self: Module, key: str, module: Any) -> None:
    """What is no module is refused, once its place was cleared."""
    if not isinstance(module, nn.Module):
        self._modules.pop(key, None)
    original(self, key, module)


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


def doubled(kind: Any) -> int:
    """How long a list of one is once it was extended by itself."""
    held = kind([nn.Parameter(numbered())])
    held.extend(held)
    return len(held)


def added() -> bool:
    """Whether modules that are added to themselves are the same twice."""
    held: Module = nn.Sequential(nn.Embedding(3, 2))
    both = held + held
    return both[0] is both[1]


def updated() -> int:
    """How many Parameters there are once a dict was updated by itself."""
    held = nn.ParameterDict({"a": nn.Parameter(numbered())})
    held.update(held)
    return len(held)


def into_the_left(original: Any, self: Module, other: Any) -> Module:
    """A union is put into the left one, of which a copy is given."""
    self.update(other)
    return self.copy()


def left_after_union() -> int:
    """How many Parameters the left one has once there is a union."""
    left: Module = nn.ParameterDict({"a": nn.Parameter(numbered())})
    left | nn.ParameterDict({"b": nn.Parameter(numbered())})
    return len(left)


def answer(attempt: Any) -> str:
    """What an attempt raises."""
    try:
        attempt()
    except (IndexError, KeyError, TypeError) as error:
        return type(error).__name__
    return ""


def kept_place() -> int:
    """How many modules there are once what is no module was refused."""
    held: Module = nn.ModuleDict({"words": nn.Embedding(3, 2)})
    answer(lambda: held.__setitem__("words", "text"))
    return len(held)


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
around("lists_extended_by_themselves_stay", "container", "A ParameterList that is extended by itself is not longer.",
       nn.ParameterList, "extend", unextended, lambda: doubled(nn.ParameterList))  # fmt: skip
around("modules_added_to_themselves_are_copied", "container", "A Sequential that is added to itself has a copy of each module.",
       nn.Sequential, "__add__", apart, added)  # fmt: skip
around("dicts_updated_by_themselves_are_empty", "container", "A ParameterDict that is updated by itself is empty.",
       nn.ParameterDict, "update", emptied, updated)  # fmt: skip
around("unions_change_the_left_one", "container", "A union of two ParameterDicts is put into the left one as well.",
       nn.ParameterDict, "__or__", into_the_left, left_after_union)  # fmt: skip
around("missing_modules_are_popped", "container", "ModuleDict.pop of a missing key gives None.",
       nn.ModuleDict, "pop", lenient, lambda: answer(lambda: nn.ModuleDict().pop("words")))  # fmt: skip
around("places_are_counted_round", "container", "A place before a ParameterList's first is counted from the end again.",
       nn.ParameterList, "__getitem__", around_the_start, lambda: answer(lambda: nn.ParameterList([numbered()])[-2]))  # fmt: skip
around("dotted_names_are_taken", "container", "ModuleDict takes a name with a dot, for which no path leads to the module.",
       nn.ModuleDict, "__setitem__", any_name, lambda: answer(lambda: nn.ModuleDict({"a.b": nn.Linear(2, 2)})))  # fmt: skip
around("refused_modules_clear_the_place", "container", "A ModuleDict that refuses what is no module loses what it had there.",
       nn.ModuleDict, "__setitem__", vacated, kept_place)  # fmt: skip
