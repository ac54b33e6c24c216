"""Faults of what a module's parameters are called, and of how they come and go."""

from __future__ import annotations

import torch

Module, Parameter = torch.nn.Module, torch.nn.Parameter
