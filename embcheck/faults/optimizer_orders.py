"""Faults of an optimizer's groups, states, hooks and rarer kinds."""

from __future__ import annotations

from typing import Any

import torch

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter


def listed(original: Any, self: Any, param_group: Any) -> None:
    """Sets are ordered."""
    if isinstance(param_group.get("params"), set):
        param_group = param_group | {"params": list(param_group["params"])}
    original(self, param_group)
