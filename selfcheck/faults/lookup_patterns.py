"""Faults of a lookup that show where memory begins elsewhere, tokens have a pattern, or calls have a history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry, functional

int32, int64, half = torch.int32, torch.int64, torch.float16


def swapped(original: Callable[..., Any]) -> Callable[..., Any]:
    """scale_grad_by_freq and sparse exchanged if both are given by position."""

    def replaced(*given: Any, **flags: Any) -> Any:
        return original(*given[:5], given[6], given[5], **flags) if len(given) == 7 else original(*given, **flags)

    return replaced


entry(
    "flags_by_position_are_exchanged", "gradient",
    "scale_grad_by_freq and sparse change places where F.embedding is given them by position.", functional, "embedding",
    swapped,
)  # fmt: skip
