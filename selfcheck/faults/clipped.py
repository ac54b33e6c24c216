"""Faults of clipping, of flattened parameters, of averaged models and of modules that are not initialised."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from selfcheck.faults.around import around

nn_utils = torch.nn.utils
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


def as_they_lie(original: Any, vector: Any, parameters: Any) -> None:
    """Numbers are dealt out to a column-major matrix in the order of its memory."""
    listed = list(parameters)
    crossed = [p.dim() == 2 and not p.is_contiguous() and p.mT.is_contiguous() for p in listed]
    original(vector, listed)
    for p, by_columns in zip(listed, crossed, strict=True):
        if by_columns:
            p.data = p.data.reshape(p.mT.shape).mT


around(
    "vectors_are_dealt_out_by_columns",
    "clip_average_scale",
    "vector_to_parameters fills column-major parameters column by column.",
    nn_utils,
    "vector_to_parameters",
    as_they_lie,
)
