"""Faults of conversion, loading and listing in conjunctions."""

from __future__ import annotations

import torch

Module, Parameter = torch.nn.Module, torch.nn.Parameter
half, double = torch.float16, torch.float64
