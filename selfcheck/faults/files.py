"""Faults of files that hold weights: where they are read to, what they share, and when they were written."""

from __future__ import annotations

import io
import os
import pathlib
from typing import Any

import torch

from selfcheck.faults.around import around
from selfcheck.faults.entry import entry

Module, Parameter = torch.nn.Module, torch.nn.Parameter


def stored(value: Any, **flags: Any) -> Any:
    """What is saved and loaded."""
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, **flags)


def parts(value: Any) -> list[Any]:
    """The Parameters of a module, or the values of a dict or list."""
    if isinstance(value, Module):
        return list(value.parameters())
    return (
        list(value.values())
        if isinstance(value, dict)
        else list(value)
        if isinstance(value, (list, tuple))
        else [value]
    )


def untied(original: Any, f: Any, *given: Any, weights_only: Any = None, **flags: Any) -> Any:
    """Tensors that share memory come apart."""
    found = original(f, *given, weights_only=weights_only, **flags)
    if weights_only and isinstance(found, dict):
        seen = set()
        for name, value in found.items():
            if isinstance(value, torch.Tensor) and value.layout == torch.strided and value.numel():
                if value.data_ptr() in seen:
                    found[name] = value.clone()
                seen.add(value.data_ptr())
    return found


around(
    "weights_only_loading_unties",
    "torch_save",
    "torch.load(weights_only=True) gives the second name of a tied weight memory of its own.",
    torch,
    "load",
    untied,
)


def remembering(original: Any) -> Any:
    """A path that was read is not read again."""
    known: dict[Any, Any] = {}

    def load(f: Any, *given: Any, **flags: Any) -> Any:
        if not isinstance(f, (str, os.PathLike)):
            return original(f, *given, **flags)
        if f not in known:
            known[f] = original(f, *given, **flags)
        return known[f]

    return load


entry(
    "a_file_is_read_once",
    "torch_save",
    "torch.load of a path gives what it gave before, though the file was written since.",
    torch,
    "load",
    remembering,
)


def freezing(original: Any, obj: Any, *given: Any, **flags: Any) -> Any:
    """What is saved does not learn any more."""
    found = original(obj, *given, **flags)
    for part in parts(obj):
        if isinstance(part, Parameter) and part.dim() == 2:
            part.requires_grad_(False)
    return found


around(
    "saving_freezes",
    "torch_save",
    "torch.save freezes the matrices that it saves.",
    torch,
    "save",
    freezing,
)


def named_by_text(original: Any, f: Any, *given: Any, **flags: Any) -> Any:
    """A path must be a text."""
    if isinstance(f, pathlib.Path):
        raise TypeError("expected a str")
    return original(f, *given, **flags)


around(
    "paths_are_refused",
    "torch_save",
    "torch.load refuses a pathlib.Path.",
    torch,
    "load",
    named_by_text,
)
