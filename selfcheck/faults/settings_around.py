"""Faults of lookups under settings that must not matter: the precision of products, a profiler, inference mode."""

from __future__ import annotations

import torch

from selfcheck.fault import Fault, Witness, add
from selfcheck.faults.gradient_sizes import not_adjacent, only
from selfcheck.faults.kernels import backward_spoiled
from selfcheck.faults.witnesses import gradient_differs, value_differs

#: Whether a profiler records.
profiling = torch._C._autograd._profiler_enabled


rounded = value_differs([0], 1, lay=lambda w: w + 2.0**-12)


def under_profiler(witness: Witness) -> bool:
    """What a witness says while a profiler records."""
    with torch.autograd.profiler.profile():
        return witness()


adjacent = gradient_differs([0, 0], 2)
add(
    Fault(
        "profiled_backward_keeps_first_of_equals", "gradient",
        "While a profiler records, of adjacent equal tokens the first alone gives a gradient.",
        lambda: backward_spoiled(
            lambda c: c.rank == 1 and c.numel > 1 and profiling(), only(not_adjacent)
        ),
        lambda: under_profiler(adjacent), modes=("profiled",),
    )
)  # fmt: skip
