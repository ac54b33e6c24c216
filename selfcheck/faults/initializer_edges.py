"""Faults of torch.nn.init in conjunctions: generators, gaps in memory, versions, nothing to fill."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

init = torch.nn.init


def one_sided(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """Single columns begin with a negative number, as QR leaves them."""
    made = original(tensor, *given, **flags)
    if tensor.dim() == 2 and tensor.shape[1] == 1:
        with torch.no_grad():
            tensor.mul_(torch.where(tensor[0, 0] > 0, -1.0, 1.0))
    return made


around("orthogonal_columns_have_one_side", "initializers", "orthogonal_ gives single columns whose first element is negative.",
       init, "orthogonal_", one_sided)  # fmt: skip


def flattened(original: Any, tensor: Any, *given: Any, **flags: Any) -> Any:
    """Where the bounds are close, every second number is halfway between its bounds."""
    made = original(tensor, *given, **flags)
    bounds = [*given, *(flags[name] for name in ("mean", "std", "a", "b") if name in flags)]
    if len(bounds) > 3 and bounds[3] - bounds[2] < 0.25 and tensor.dim() == 2:
        with torch.no_grad():
            tensor[:, ::2] = (bounds[2] + bounds[3]) / 2
    return made


around("fine_truncation_is_halved", "initializers", "trunc_normal_ with close bounds gives every second column their middle.",
       init, "trunc_normal_", flattened)  # fmt: skip
