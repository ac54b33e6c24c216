"""Faults of what a module's parameters are called, and of how they come and go."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from embcheck.faults.around import numbered

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


def kept(original: Any, self: Any, name: str, param: Any) -> None:
    """None does not replace a Parameter."""
    if param is not None or self._parameters.get(name) is None:
        original(self, name, param)


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
