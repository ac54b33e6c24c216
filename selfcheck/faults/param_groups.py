"""Faults of optimizers in company: several groups, dtypes and parameters, frozen and sparse ones among them."""

from __future__ import annotations

import importlib

clipping = importlib.import_module("torch.nn.utils.clip_grad")
