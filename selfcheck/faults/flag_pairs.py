"""Faults where a lookup meets what stands around it: anomaly mode, recomputation, determinism, reloads, wide indices."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around, numbered
from selfcheck.faults.entry import functional
from selfcheck.faults.kernels import Tensor


def leaf(rows: int = 3, width: int = 2) -> Tensor:
    """A table that learns."""
    return numbered(rows, width).requires_grad_()


def alarm() -> bool:
    """Whether a NaN that is sent back raises."""
    with torch.autograd.set_detect_anomaly(True):
        value = functional.embedding(torch.tensor([1]), leaf())
        try:
            value.backward(torch.full_like(value, float("nan")))
        except RuntimeError:
            return True
    return False


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
    alarm,
)


def called_coalesced(original: Any, *given: Any, **flags: Any) -> Any:
    """Sparse gradients that are asked for say that they are coalesced."""
    found = original(*given, **flags)
    for gradient in found:
        if isinstance(gradient, Tensor) and gradient.is_sparse:
            gradient._coalesced_(True)
    return found


def bag_gradient() -> bool:
    """What the sparse gradient of a bag says of itself."""
    weight = leaf()
    out = functional.embedding_bag(torch.tensor([[1, 1]]), weight, mode="sum", sparse=True)
    (gradient,) = torch.autograd.grad(out.sum(), weight)
    return gradient.is_coalesced()


around(
    "asked_gradients_call_themselves_coalesced",
    "embedding_bag",
    "A sparse gradient that torch.autograd.grad gives says that it is coalesced, whatever it holds.",
    torch.autograd,
    "grad",
    called_coalesced,
    bag_gradient,
)
