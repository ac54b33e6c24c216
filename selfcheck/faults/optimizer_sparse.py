"""Faults of fused tails and of sparse gradients in optimizers."""

from __future__ import annotations
