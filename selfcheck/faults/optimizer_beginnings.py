"""Faults of first steps beside later ones, of hooks common to all optimizers or put first, and of lone parameters."""

from __future__ import annotations

import importlib
from typing import Any

import torch

Parameter, Optimizer = torch.nn.Parameter, torch.optim.Optimizer
shared: Any = importlib.import_module("torch.optim.optimizer")
