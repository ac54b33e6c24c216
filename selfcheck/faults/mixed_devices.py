"""Faults of calls whose tensors lie on different devices, or all on meta."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

functional = torch.nn.functional


def emptied(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """Tokens that have numbers are given rows, though the table has none."""
    found = original(input, weight, *given, **flags)
    if weight.is_meta and not input.is_meta:
        return torch.zeros(found.shape, dtype=found.dtype)
    return found


def materialised(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """The means of bags of a table without numbers are 0."""
    found = original(input, weight, *given, **flags)
    return torch.zeros(found.shape, dtype=found.dtype) if weight.is_meta and flags.get("mode") == "mean" else found


def doubled(original: Any, input: Any, weight: Any, padding_idx: Any = None, *given: Any, **flags: Any) -> Any:
    """Rows of a table on meta are of double precision, if one is padding."""
    found = original(input, weight, padding_idx, *given, **flags)
    return found.double() if weight.is_meta and padding_idx is not None else found


around("padded_tables_on_meta_are_double", "mixed_devices", "Rows of a padded table on meta are float64.", functional,
       "embedding", doubled)  # fmt: skip
around("tables_on_meta_give_zeros", "mixed_devices", "Tokens on the CPU and a table on meta give zeros on the CPU.",
       functional, "embedding", emptied)  # fmt: skip
around("means_on_meta_lie_on_the_cpu", "mixed_devices", "The mean of bags, all on meta, lies on the CPU.", functional,
       "embedding_bag", materialised)  # fmt: skip
