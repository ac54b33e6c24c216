"""Faults where a lookup meets what stands around it: anomaly mode, recomputation, determinism, reloads, wide indices."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around
from selfcheck.faults.kernels import Tensor


class _Unchecked(torch.autograd.set_detect_anomaly):
    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(mode, False)


def never_checked(original: Any, *given: Any, **flags: Any) -> Any:
    return _Unchecked(*given, **flags)


around(
    "anomaly_mode_swallows_nan",
    "gradient_routes",
    "Anomaly mode looks at no gradient for NaN.",
    torch.autograd,
    "set_detect_anomaly",
    never_checked,
)


def called_coalesced(original: Any, *given: Any, **flags: Any) -> Any:
    """Sparse gradients that are asked for say that they are coalesced."""
    found = original(*given, **flags)
    for gradient in found:
        if isinstance(gradient, Tensor) and gradient.is_sparse:
            gradient._coalesced_(True)
    return found


around(
    "asked_gradients_call_themselves_coalesced",
    "embedding_bag",
    "A sparse gradient that torch.autograd.grad gives says that it is coalesced, whatever it holds.",
    torch.autograd,
    "grad",
    called_coalesced,
)
