"""Faults of what is done with tied models, and of passes that are given one table twice."""

from __future__ import annotations

import torch
import torch.utils.checkpoint

Module = torch.nn.Module
Parameter = torch.nn.Parameter
