"""Faults by which a derivative is not there, or is that of another sample of a batch."""

from __future__ import annotations

import torch

TOKENS, STARTS = torch.tensor([0, 1]), torch.tensor([0])
