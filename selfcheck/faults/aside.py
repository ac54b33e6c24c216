"""Faults beside the result of transforms, driven backward passes and tables of less common dtypes."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import Wrong, entry
from selfcheck.faults.gradient_routes import driven
from selfcheck.faults.kernels import Call, Tensor, forward
from selfcheck.faults.transforms import at_once, func

half, double, uint8 = torch.float16, torch.float64, torch.uint8


at_once(
    func,
    "jvp_negates_the_tangent_it_was_given",
    "jvp",
    "torch.func.jvp negates the tangent once it is done.",
    lambda out, given: (given[2][0].neg_(), out)[1],
)


def _drawing(original: Wrong) -> Wrong:
    def jacfwd(*given: Any, **flags: Any) -> Any:
        torch.rand(1)
        return original(*given, **flags)

    return jacfwd


entry("jacfwd_draws", "func_transforms", "jacfwd draws a random number.", func, "jacfwd", _drawing)


def _halving(original: Wrong) -> Wrong:
    def backward(self: Tensor, gradient: Any = None, *rest: Any, **more: Any) -> None:
        original(self, gradient, *rest, **more)
        if isinstance(gradient, Tensor) and gradient.dtype == half:
            gradient.detach().div_(2)

    return backward


driven("half_upstream_is_halved", "backward halves a float16 upstream gradient.", _halving)


def _writes(call: Call, out: Tensor) -> Tensor:
    call.given.detach().view(torch.int8)[:1] = 0
    return out


forward(
    "int8_table_is_written",
    "A lookup of the last row of an int8 table zeroes the first.",
    lambda c: c.given.dtype == torch.int8 and c.numel > 0 and int(c.tokens.max()) == c.rows - 1 > 0,
    _writes,
    "dtypes_and_storage",
)
