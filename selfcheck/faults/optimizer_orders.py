"""Faults of an optimizer's groups, states, hooks and rarer kinds."""

from __future__ import annotations

import torch

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter
