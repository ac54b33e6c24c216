"""Faults of lookups under settings that must not matter: the precision of products, a profiler, inference mode."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.fault import Fault, Witness, add
from embcheck.faults.bags import Given
from embcheck.faults.entry import functional
from embcheck.faults.gradient_sizes import not_adjacent, only
from embcheck.faults.kernels import Tensor, backward_spoiled
from embcheck.faults.witnesses import gradient_differs, value_differs

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


def outside() -> Tensor:
    """A table that is no inference tensor."""
    with torch.inference_mode(False):
        return torch.ones(1, 1)


def looked_up() -> bool:
    """Whether a batch of one token of such a table gives an inference tensor."""
    table = outside()
    with torch.inference_mode():
        return functional.embedding(torch.tensor([[0]]), table).is_inference()


def _plain_bag(given: Given) -> bool:
    return torch.is_inference_mode_enabled() and given["mode"] == "max" and not given["weight"].is_inference()


def reduced() -> bool:
    """Whether a maximum gives an inference tensor."""
    table = outside()
    with torch.inference_mode():
        return functional.embedding_bag(torch.tensor([[0]]), table, mode="max").is_inference()


def _outside(original: Any, given: Given) -> Any:
    if not _plain_bag(given):
        return original(**given)
    with torch.inference_mode(False), torch.no_grad():
        return original(**{name: x.clone() if isinstance(x, Tensor) else x for name, x in given.items()})
