"""Faults of the dense backward kernel: scale_grad_by_freq and padding."""

from __future__ import annotations
