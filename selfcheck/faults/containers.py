"""Faults of containers of modules."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around


def whole(original: Any, self: Any, at: Any) -> Any:
    """A slice is the whole container."""
    return self if isinstance(at, slice) else original(self, at)


around("slices_are_the_whole", "module_traversal", "A slice of a Sequential is the Sequential itself.", torch.nn.Sequential,
       "__getitem__", whole)  # fmt: skip
