"""Programs that count what a call allocates, computes and keeps.  They import nothing but torch, for their source is
what a counterexample shows.

Counted is what torch's own profiler reports: bytes that were allocated, freed again or not, floating-point operations of
products, and operators that ran.  None of them depends on the machine or on how busy it is.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from embcheck.core.registry import named

#: Kineto tells the terminal of each start and stop, even when it is not asked for.
os.environ.setdefault("KINETO_LOG_LEVEL", "99")

Tensor = torch.Tensor
Call = Callable[..., Tensor]


def counted(function: Callable[[], Any]) -> tuple[Any, dict[str, int]]:
    """What a function returns, and what it took."""
    # Without Kineto, which writes to the terminal and takes seconds to start.
    with torch.autograd.profiler.profile(use_kineto=False, profile_memory=True, with_flops=True) as profiler:
        value = function()
    events = [event for event in profiler.function_events if event.name != "[memory]"]
    return value, {
        "allocated": sum(max(event.self_cpu_memory_usage, 0) for event in events),
        "flops": sum(event.flops or 0 for event in events),
        "operators": len(events),
    }


def measure(
    call: Call, weight: Tensor, indices: Tensor, upstream: Tensor, flags: dict[str, Any], offsets: Tensor | None = None
) -> dict[str, Any]:
    given = (indices,) if offsets is None else (indices, offsets)
    known = {tensor.untyped_storage().data_ptr() for tensor in (weight, *given)}
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in known:
            kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        call(weight, *given, **flags)
    value, forward = counted(lambda: call(weight, *given, **flags))
    seen: dict[str, Any] = {
        "forward": forward["allocated"],
        "flops": forward["flops"],
        "operators": forward["operators"],
    }
    seen["kept"] = sum(tensor.numel() * tensor.element_size() for tensor in kept)
    if value.requires_grad:
        _, backward = counted(lambda: value.backward(upstream))
        seen["backward"] = backward["allocated"]
    return seen


CALLED: dict[str, Call] = named(
    {
        "functional": lambda weight, indices, **flags: F.embedding(indices, weight, **flags),
        "bag_sum": lambda weight, indices, offsets, **flags: F.embedding_bag(
            indices, weight, offsets, mode="sum", **flags
        ),
        "bag_mean": lambda weight, indices, offsets, **flags: F.embedding_bag(
            indices, weight, offsets, mode="mean", **flags
        ),
        "bag_max": lambda weight, indices, offsets, **flags: F.embedding_bag(
            indices, weight, offsets, mode="max", **flags
        ),
        "one_hot": lambda weight, indices, **flags: F.one_hot(indices, len(weight)),
    }
)
