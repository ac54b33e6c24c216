"""Faults of fake and meta tensors: what comes out has another size or dtype than with real ones."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around


def wider(original: Any, table: Any, *given: Any, **flags: Any) -> Any:
    """Fake bags of half precision are summed in single precision."""
    found = original(table, *given, **flags)
    if type(table).__name__ != "FakeTensor" or table.dtype is not torch.float16:
        return found
    return (found[0].float(), *found[1:])


def refused(original: Any, tokens: Any, table: Any, *given: Any, **flags: Any) -> Any:
    """Fake tables are looked up by int64 only."""
    if type(table).__name__ == "FakeTensor" and tokens.dtype is torch.int32:
        raise RuntimeError("expected scalar type Long but found Int")
    return original(tokens, table, *given, **flags)


around("fake_bags_are_of_single_precision", "fake_tensors", "Fake bags of a float16 table are float32.", torch,
       "embedding_bag", wider)  # fmt: skip


around("fake_tables_take_int64_only", "fake_tensors", "A fake table refuses tokens of int32.", torch.nn.functional,
       "embedding", refused)  # fmt: skip


def wider_on_meta(original: Any, table: Any, *given: Any, **flags: Any) -> Any:
    """Bags of half precision on meta are summed in single precision."""
    found = original(table, *given, **flags)
    return (found[0].float(), *found[1:]) if table.is_meta and table.dtype is torch.float16 else found


around("meta_bags_are_of_single_precision", "fake_tensors", "Bags of a float16 table on meta are float32.", torch,
       "embedding_bag", wider_on_meta)  # fmt: skip
