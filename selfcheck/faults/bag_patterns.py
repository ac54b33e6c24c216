"""Faults of bags: neighbours of empty bags, patterns of weights, memory of offsets, and what is accepted."""

from __future__ import annotations

import torch

half, double = torch.float16, torch.float64
