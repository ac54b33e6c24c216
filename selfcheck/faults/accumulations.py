"""Faults of gradients that are zeroed, accumulated or scaled, and of a schedule between epochs."""

from __future__ import annotations

import torch

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter
