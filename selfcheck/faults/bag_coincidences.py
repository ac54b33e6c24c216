"""Faults of bags in conjunctions: lengths, sizes and flags that are right one by one."""

from __future__ import annotations

import torch

from selfcheck.faults.bag_entries import after, call_fault

bfloat16, half, double = torch.bfloat16, torch.float16, torch.float64
int32, int64 = torch.int32, torch.int64


call_fault(
    "maximum_of_a_batch_loses_nan", "A maximum over a two-dimensional input is 0 where it should be NaN.",
    after(lambda g: g["mode"] == "max" and g["input"].dim() == 2, lambda out, g: torch.where(out.isnan(), 0, out)),
)  # fmt: skip
