"""Faults beside the result of transforms, driven backward passes and tables of less common dtypes."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry, functional
from selfcheck.faults.gradient_routes import driven, leaf, lookup
from selfcheck.faults.kernels import Call, Tensor, forward
from selfcheck.faults.transforms import at_once, func, look, table

half, double, uint8 = torch.float16, torch.float64, torch.uint8


def tangent_after() -> float:
    """A tangent after jvp has used it."""
    tangent = torch.ones(3, 2)
    func.jvp(look, (table(),), (tangent,))
    return float(tangent[0, 0])


at_once(
    func,
    "jvp_negates_the_tangent_it_was_given",
    "jvp",
    "torch.func.jvp negates the tangent once it is done.",
    lambda out, given: (given[2][0].neg_(), out)[1],
    lambda: tangent_after() != 1.0,
)


def draws() -> bool:
    """Whether jacfwd moves the random numbers."""
    before = torch.get_rng_state()
    func.jacfwd(look)(table())
    moved = not torch.equal(before, torch.get_rng_state())
    torch.set_rng_state(before)
    return moved


def _drawing(original: Wrong) -> Wrong:
    def jacfwd(*given: Any, **flags: Any) -> Any:
        torch.rand(1)
        return original(*given, **flags)

    return jacfwd


entry("jacfwd_draws", "func_transforms", "jacfwd draws a random number.", func, "jacfwd", _drawing, draws)


def _halving(original: Wrong) -> Wrong:
    def backward(self: Tensor, gradient: Any = None, *rest: Any, **more: Any) -> None:
        original(self, gradient, *rest, **more)
        if isinstance(gradient, Tensor) and gradient.dtype == half:
            gradient.detach().div_(2)

    return backward


def upstream_after() -> float:
    """A float16 upstream gradient after a backward pass."""
    sent = torch.ones(3, 2, dtype=half)
    lookup(leaf(half)).backward(sent)
    return float(sent[0, 0])


driven(
    "half_upstream_is_halved", "backward halves a float16 upstream gradient.", _halving, lambda: upstream_after() != 1.0
)


def _writes(call: Call, out: Tensor) -> Tensor:
    call.given.detach().view(torch.int8)[:1] = 0
    return out


def int8_row_after() -> int:
    """The first row of an int8 table after a lookup of the second."""
    weight = torch.ones(2, 1, dtype=torch.int8)
    functional.embedding(torch.tensor([1]), weight)
    return int(weight[0])


forward(
    "int8_table_is_written",
    "A lookup of the last row of an int8 table zeroes the first.",
    lambda c: c.given.dtype == torch.int8 and c.numel > 0 and int(c.tokens.max()) == c.rows - 1 > 0,
    _writes,
    lambda: int8_row_after() != 1,
    "dtypes_and_storage",
)
