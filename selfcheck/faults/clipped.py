"""Faults of clipping, of flattened parameters, of averaged models and of modules that are not initialised."""

from __future__ import annotations

import importlib
from typing import Any

from selfcheck.faults.around import around

clipping = importlib.import_module("torch.nn.utils.clip_grad")


def infinite_is_fine(
    original: Any, norms: Any, norm_type: float = 2.0, error: bool = False, foreach: Any = None
) -> Any:
    """Only NaN is an error."""
    total = original(norms, norm_type, False, foreach)
    return original(norms, norm_type, error, foreach) if error and total.isnan() else total


around(
    "infinite_norms_are_no_error",
    "clip_average_scale",
    "clip_grad_norm_(error_if_nonfinite=True) raises for NaN alone.",
    clipping,
    "_get_total_norm",
    infinite_is_fine,
    applies=lambda: hasattr(clipping, "_get_total_norm"),
)
