"""Faults of lookups under settings that must not matter: the precision of products, a profiler, inference mode."""

from __future__ import annotations

import torch

from selfcheck.fault import Fault, add
from selfcheck.faults.gradient_sizes import not_adjacent, only
from selfcheck.faults.kernels import backward_spoiled

#: Whether a profiler records.
profiling = torch._C._autograd._profiler_enabled
add(
    Fault(
        "profiled_backward_keeps_first_of_equals", "gradient",
        "While a profiler records, of adjacent equal tokens the first alone gives a gradient.",
        lambda: backward_spoiled(
            lambda c: c.rank == 1 and c.numel > 1 and profiling(), only(not_adjacent)
        ), modes=("profiled",),
    )
)  # fmt: skip
