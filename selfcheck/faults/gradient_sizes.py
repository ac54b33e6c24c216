"""Faults of the dense backward kernel: sizes, ranks and dtypes."""

from __future__ import annotations

from collections.abc import Callable

import torch

from selfcheck.faults.kernels import Call, Tensor, backward, dense_gradient

int32, half, bfloat16, double = torch.int32, torch.float16, torch.bfloat16, torch.float64


def only(keep: Callable[[Call], Tensor]) -> Callable[[Call, Tensor], Tensor]:
    """The gradient of those tokens alone that ``keep`` (bool, shape ``(numel,)``) marks."""

    def spoil(call: Call, out: Tensor) -> Tensor:
        kept = keep(call)
        return dense_gradient(call._replace(given=call.upstream * kept[:, None].to(call.given.dtype)))

    return spoil


def not_adjacent(call: Call) -> Tensor:
    """Tokens that differ from the one before."""
    tokens = call.tokens
    return torch.cat([torch.ones(1, dtype=torch.bool), tokens[1:] != tokens[:-1]])


backward(
    "backward_draws_random_numbers",
    "A backward pass of float64 draws a random number.",
    lambda c: c.given.dtype == double,
    lambda c, out: (torch.rand(1), out)[1],
)
