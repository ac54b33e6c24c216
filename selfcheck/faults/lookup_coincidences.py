"""Faults of F.embedding where sizes, tokens or memory happen to agree: each axis alone is as usual."""

from __future__ import annotations

import torch

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64
