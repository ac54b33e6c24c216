"""Faults of layers whose tensors have no memory, and of calls on meta."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around


def wider(original: Any, table: Any, *given: Any, **flags: Any) -> Any:
    """Bags of half precision on meta are summed in single precision."""
    found = original(table, *given, **flags)
    return (found[0].float(), *found[1:]) if table.is_meta and table.dtype is torch.float16 else found


def kept(original: Any, module: Any, *given: Any, **flags: Any) -> Any:
    """On meta Module.half() does nothing."""
    return module if next(module.parameters()).is_meta else original(module, *given, **flags)


around("meta_bags_are_of_single_precision", "fake_tensors", "Bags of a float16 table on meta are float32.", torch,
       "embedding_bag", wider)  # fmt: skip
around("layers_on_meta_are_not_halved", "fake_modules", "Module.half() of a layer on meta does nothing.", torch.nn.Module,
       "half", kept)  # fmt: skip


def unfilled(original: Any, part: Any, *given: Any, **flags: Any) -> Any:
    """What has no memory is not filled with zeros."""
    if part.is_meta:
        raise NotImplementedError("there is no memory to fill")
    return original(part, *given, **flags)


around("tensors_on_meta_are_not_zeroed", "fake_modules", "torch.nn.init.zeros_ refuses a tensor on meta.", torch.nn.init,
       "zeros_", unfilled)  # fmt: skip
