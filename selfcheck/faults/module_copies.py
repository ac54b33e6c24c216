"""Faults of copies, files and conversions of modules in conjunctions."""

from __future__ import annotations

import torch

Module, Parameter = torch.nn.Module, torch.nn.Parameter
