"""Faults that only values of a whole significand show, and those of a Parameter that is made of a Parameter."""

from __future__ import annotations

import torch

double, bfloat16 = torch.float64, torch.bfloat16
ONE = torch.ones(1, dtype=double)
