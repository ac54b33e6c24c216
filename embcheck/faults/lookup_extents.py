"""Faults of lookups that show beyond some extent, in two modes at once, or after the table or the tokens were written."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.entry import Wrong, functional
from embcheck.faults.kernels import Tensor


def gradient(rows: int, width: int, tokens: Tensor, **flags: Any) -> Tensor:
    """The gradient of the sum of a lookup in a table of ones."""
    weight = torch.ones(rows, width, requires_grad=True)
    (found,) = torch.autograd.grad(functional.embedding(tokens, weight, **flags).sum(), weight)
    return found


# -- modes -------------------------------------------------------------------------------------------------------


def narrow(original: Wrong, input: Tensor, weight: Tensor, **flags: Any) -> Tensor:
    out: Tensor = original(input, weight, **flags)
    used = torch.is_autocast_enabled("cpu") and not torch.is_grad_enabled() and input.dim() == 1
    return out.to(torch.get_autocast_dtype("cpu")) if used else out
