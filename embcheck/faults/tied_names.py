"""Faults of what a module's parameters are called, and of how they come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from embcheck.faults.around import around, numbered, pair

Module, Parameter = torch.nn.Module, torch.nn.Parameter


def named(
    original: Any, self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
) -> Iterator[tuple[str, Any]]:
    """Where two Parameters begin at one address, the second is taken for the first."""
    seen = set()
    for name, value in original(self, prefix, recurse, remove_duplicate):
        if remove_duplicate and value.numel() and value.data_ptr() in seen:
            continue
        seen.add(value.data_ptr())
        yield name, value


def views() -> list[str]:
    """The names of a table and of a transposed Parameter in its memory."""
    model = pair()
    model["head"].weight = Parameter(model["embedding"].weight.detach())
    return [name for name, _ in model.named_parameters()]


around(
    "views_of_one_memory_are_one_parameter",
    "membership",
    "named_parameters() takes two Parameters that begin at one address for one.",
    Module,
    "named_parameters",
    named,
    views,
)


def once_empty(
    original: Any, self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
) -> Iterator[tuple[str, Any]]:
    """Of Parameters without elements the first alone is listed: all have the address 0."""
    empty = False
    for name, value in original(self, prefix, recurse, remove_duplicate):
        if remove_duplicate and not value.numel():
            if empty:
                continue
            empty = True
        yield name, value


around(
    "empty_parameters_are_one",
    "membership",
    "named_parameters() lists one of several Parameters without elements.",
    Module,
    "named_parameters",
    once_empty,
    lambda: [n for n, _ in torch.nn.Sequential(torch.nn.Embedding(0, 2), torch.nn.Embedding(0, 3)).named_parameters()],
)


def frozen_twice(
    original: Any, self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
) -> Iterator[tuple[str, Any]]:
    """A frozen Parameter is not remembered."""
    seen = set()
    for name, value in original(self, prefix, recurse, False):
        if remove_duplicate and id(value) in seen:
            continue
        if value.requires_grad:
            seen.add(id(value))
        yield name, value


around(
    "frozen_ties_are_listed_twice",
    "membership",
    "named_parameters() lists a frozen tied Parameter under both of its names.",
    Module,
    "named_parameters",
    frozen_twice,
    lambda: len(list(pair().requires_grad_(False).parameters())),
)


def kept(original: Any, self: Any, name: str, param: Any) -> None:
    """None does not replace a Parameter."""
    if param is not None or self._parameters.get(name) is None:
        original(self, name, param)


def bias_after(value: Any) -> Any:
    """A bias that was registered anew."""
    layer = torch.nn.Linear(1, 1)
    torch.nn.init.ones_(layer.bias)
    layer.register_parameter("bias", value)
    return layer.bias


around(
    "registering_none_keeps_the_parameter",
    "leaf",
    "register_parameter(name, None) leaves the Parameter that is there.",
    Module,
    "register_parameter",
    kept,
    lambda: bias_after(None),
)


def emptied(original: Any, self: Any, name: str) -> None:
    """The name of a Parameter stays, for None."""
    if name in self._parameters:
        self._parameters[name] = None
    else:
        original(self, name)


def has_after_deletion() -> bool:
    """Whether a weight is there once it is deleted."""
    layer = torch.nn.Embedding(1, 1)
    del layer.weight
    return hasattr(layer, "weight")


around(
    "deletion_leaves_none",
    "leaf",
    "A Parameter that is deleted is None afterwards.",
    Module,
    "__delattr__",
    emptied,
    has_after_deletion,
)


def dotted(original: Any, self: Any, name: str, param: Any) -> None:
    """A name with a dot is taken."""
    if isinstance(name, str) and "." in name:
        self._parameters[name] = param
    else:
        original(self, name, param)


around(
    "dotted_names_are_registered",
    "leaf",
    "register_parameter takes a name with a dot.",
    Module,
    "register_parameter",
    dotted,
    lambda: torch.nn.Module().register_parameter("a.b", Parameter(numbered())),
)


def subclass_lost(original: Any, cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
    """What is made of a subclass's tensor is a plain Parameter."""
    if data is not None and cls is Parameter and type(data) not in (torch.Tensor, Parameter):
        data = data.detach().as_subclass(torch.Tensor)
    return original(cls, data, requires_grad)


class Marked(torch.Tensor):
    """A subclass that adds nothing."""


around(
    "parameter_of_a_subclass_is_plain",
    "leaf",
    "A Parameter of a subclass's tensor has lost the subclass.",
    Parameter,
    "__new__",
    subclass_lost,
    lambda: isinstance(Parameter(numbered().as_subclass(Marked)), Marked),
)


def bare(original: Any, first: Any, second: Any) -> None:
    """Attributes of Python's stay behind."""
    attributes = dict(vars(first)), dict(vars(second))
    original(first, second)
    for tensor, own in zip((first, second), attributes, strict=True):
        vars(tensor).clear()
        vars(tensor).update(own)


def marked() -> Any:
    """An attribute of a Parameter after it was swapped with another."""
    first, second = Parameter(numbered()), Parameter(numbered())
    vars(first)["mark"] = 1
    torch.utils.swap_tensors(first, second)
    return hasattr(second, "mark")


around(
    "swapped_tensors_keep_their_attributes",
    "life",
    "torch.utils.swap_tensors does not swap the attributes.",
    torch.utils,
    "swap_tensors",
    bare,
    marked,
)
