"""Faults of fake tensors: what comes out has another size or dtype than with real ones."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.around import around, numbered
from embcheck.lookup.shadow import SHADOWED, shadowed


def wider(original: Any, table: Any, *given: Any, **flags: Any) -> Any:
    """Fake bags of half precision are summed in single precision."""
    found = original(table, *given, **flags)
    if type(table).__name__ != "FakeTensor" or table.dtype is not torch.float16:
        return found
    return (found[0].float(), *found[1:])


def told() -> Any:
    """What a fake bag is said to be."""
    flags = {"mode": "sum", "include_last_offset": False, "padding_idx": None}
    return shadowed(SHADOWED["bag"], flags, False, numbered().half(), torch.tensor([1]), torch.tensor([0]))


around("fake_bags_are_of_single_precision", "shadow", "Fake bags of a float16 table are float32.", torch,
       "embedding_bag", wider, told)  # fmt: skip
