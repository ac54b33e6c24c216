"""Prunings: which functions of torch.nn.utils.prune come one after the other, and how many elements they take."""

from __future__ import annotations

from typing import Any

import numpy as np

from embcheck.core.format import Floats

#: What is done with a weight, and by which options of which function; ``amount`` is a count or a share of what is left.
PRUNINGS: dict[str, tuple[tuple[str, dict[str, Any]], ...]] = {
    "identity": (("identity", {}),),
    "custom": (("custom_from_mask", {}),),
    "least": (("l1_unstructured", {"amount": 2}),),
    "none": (("l1_unstructured", {"amount": 0}),),
    "share": (("l1_unstructured", {"amount": 0.25}),),
    "least_twice": (("l1_unstructured", {"amount": 1}), ("l1_unstructured", {"amount": 2})),
    "least_thrice": (("l1_unstructured", {"amount": 1}),) * 3,
    "rows": (("ln_structured", {"amount": 1, "n": 2, "dim": 0}),),
    "columns": (("ln_structured", {"amount": 1, "n": 1, "dim": 1}),),
    "last_axis": (("ln_structured", {"amount": 1, "n": float("inf"), "dim": -1}),),
    "rows_twice": (("ln_structured", {"amount": 1, "n": 1, "dim": 0}), ("ln_structured", {"amount": 1, "n": 1, "dim": 0})),
    "custom_then_least": (("custom_from_mask", {}), ("l1_unstructured", {"amount": 1})),
    "least_then_rows": (("l1_unstructured", {"amount": 1}), ("ln_structured", {"amount": 1, "n": 2, "dim": 0})),
    "rows_then_custom": (("ln_structured", {"amount": 1, "n": 2, "dim": 0}), ("custom_from_mask", {})),
    "of_two": (("global_unstructured", {"amount": 2}),),
    "share_of_two": (("global_unstructured", {"amount": 0.5}),),
    "by_chance": (("random_unstructured", {"amount": 2}),),
    "share_by_chance": (("random_unstructured", {"amount": 0.5}),),
    "rows_by_chance": (("random_structured", {"amount": 1, "dim": 0}),),
    "columns_by_chance": (("random_structured", {"amount": 1, "dim": 1}),),
    "last_axis_by_chance": (("random_structured", {"amount": 1, "dim": -1}),),
    "custom_then_of_two": (("custom_from_mask", {}), ("global_unstructured", {"amount": 2})),
    "of_two_twice": (("global_unstructured", {"amount": 1}), ("global_unstructured", {"amount": 0.5})),
    "least_then_share_of_two": (("l1_unstructured", {"amount": 1}), ("global_unstructured", {"amount": 0.25})),
}  # fmt: skip


def counted(amount: float, left: int) -> int:
    """How many go: a count, but no more than are left, or a share, rounded."""
    return min(amount, left) if isinstance(amount, int) else round(amount * left)


def without_least(mask: Floats, scores: Floats, amount: float) -> Floats:
    """The mask, in which those of the least scores of what is left become 0."""
    kept = np.flatnonzero(mask == 1)
    mask[kept[np.argsort(scores[kept], kind="stable")][: counted(amount, len(kept))]] = 0
    return mask
