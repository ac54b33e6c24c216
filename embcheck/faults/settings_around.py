"""Faults of lookups under settings that must not matter: the precision of products, a profiler, inference mode."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.fault import Fault, Witness, add
from embcheck.faults.bag_entries import call_fault
from embcheck.faults.bags import Given
from embcheck.faults.entry import embedding, functional
from embcheck.faults.gradient_sizes import not_adjacent, only
from embcheck.faults.kernels import Call, Tensor, backward_spoiled, forward_spoiled
from embcheck.faults.witnesses import gradient_differs, value_differs

#: Whether a profiler records.
profiling = torch._C._autograd._profiler_enabled


def at_medium(call: Call) -> bool:
    """Whether products of float32 may be rounded."""
    return call.given.dtype == torch.float32 and torch.get_float32_matmul_precision() == "medium"


def medium(witness: Witness) -> bool:
    """What a witness says while products may be rounded."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        return witness()
    finally:
        torch.set_float32_matmul_precision(before)


rounded = value_differs([0], 1, lay=lambda w: w + 2.0**-12)
add(
    Fault(
        "medium_precision_rounds_rows", "lookup", "Where products may be rounded to bfloat16, rows are.",
        lambda: forward_spoiled(at_medium, lambda call, out: out.bfloat16().float()), lambda: medium(rounded),
        modes=("medium_precision",),
    )
)  # fmt: skip


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


def plainly(call: Any, tokens: Tensor, weight: Tensor, **flags: Any) -> Any:
    """A batch of one token that is looked up outside of inference mode."""
    if not torch.is_inference_mode_enabled() or tokens.numel() != 1 or tokens.dim() != 2 or weight.is_inference():
        return call(tokens, weight, **flags)
    with torch.inference_mode(False), torch.no_grad():
        return call(tokens.clone(), weight, **flags)


def outside() -> Tensor:
    """A table that is no inference tensor."""
    with torch.inference_mode(False):
        return torch.ones(1, 1)


def looked_up() -> bool:
    """Whether a batch of one token of such a table gives an inference tensor."""
    table = outside()
    with torch.inference_mode():
        return functional.embedding(torch.tensor([[0]]), table).is_inference()


embedding(
    "one_token_is_no_inference_tensor", "lookup", "In inference mode a batch of one token gives an ordinary tensor.",
    plainly, lambda: not looked_up(),
)  # fmt: skip


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


call_fault(
    "maximum_is_no_inference_tensor",
    "In inference mode a maximum is an ordinary tensor.",
    _outside,
    lambda: not reduced(),
)
