"""Faults of optimizers in company: several groups, dtypes and parameters, frozen and sparse ones among them."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from embcheck.faults.kernels import Tensor

clipping = importlib.import_module("torch.nn.utils.clip_grad")
swa = torch.optim.swa_utils


def apart(one: Tensor, other: Tensor) -> bool:
    """Whether two results differ by more than another order of evaluation explains."""
    return bool((one - other).abs().max() > 2.0**-6)


def part(name: str) -> Any:
    """A module of torch.optim, of which the package may have a function of the same name."""
    return importlib.import_module(f"torch.optim.{name}")
