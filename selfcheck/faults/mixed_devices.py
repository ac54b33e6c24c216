"""Faults of calls whose tensors lie on different devices, or all on meta."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

functional = torch.nn.functional


def materialised(original: Any, input: Any, weight: Any, *given: Any, **flags: Any) -> Any:
    """The means of bags of a table without numbers are 0."""
    found = original(input, weight, *given, **flags)
    return torch.zeros(found.shape, dtype=found.dtype) if weight.is_meta and flags.get("mode") == "mean" else found


around("means_on_meta_lie_on_the_cpu", "mixed_devices", "The mean of bags, all on meta, lies on the CPU.", functional,
       "embedding_bag", materialised)  # fmt: skip
