"""Faults of bags with max_norm: beside per_sample_weights, and where the weight is no Parameter of its layer."""

from __future__ import annotations

from selfcheck.faults.bag_entries import call_fault
from selfcheck.faults.bags import Given


def weighted(given: Given) -> bool:
    """Whether a call bounds rows that it weighs."""
    return given.get("per_sample_weights") is not None and given.get("max_norm") is not None


call_fault(
    "weighted_cuts_are_bounded_in_a_copy",
    "Weighted bags with offsets rescale a copy of the table.",
    lambda original, g: original(**g | {"weight": g["weight"].clone()} if weighted(g) and g["input"].dim() == 1 else g),
    family="max_norm",
)
