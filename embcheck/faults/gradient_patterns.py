"""Faults of a table's gradient: patterns of the tokens, the memory of what comes from above, several passes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import functional
from embcheck.faults.kernels import (
    Call,
    Tensor,
    dense_gradient,
)
from embcheck.faults.probes import passes, rows

int32 = torch.int32


def counts(call: Call) -> Tensor:
    """How often each row comes, shape ``(rows,)``."""
    return torch.bincount(call.tokens, minlength=call.rows)


def kept(call: Call, which: Tensor) -> Tensor:
    """The dense gradient of some of the tokens."""
    return dense_gradient(call._replace(given=call.upstream[which], indices=call.tokens[which]))


def firsts(call: Call) -> Tensor:
    """Which tokens have not come before."""
    tokens = call.tokens
    return ~((tokens[:, None] == tokens[None]) & (torch.arange(len(tokens)) < torch.arange(len(tokens))[:, None])).any(
        1
    )


def twice(**flags: Any) -> Callable[[], list[Tensor]]:
    """Both gradients of two passes over one graph."""

    def probe() -> list[Tensor]:
        weight = rows()
        out = functional.embedding(torch.tensor([0, 1]), weight, **flags).sum()
        return [torch.autograd.grad(out, weight, retain_graph=True)[0] for _ in range(2)]

    return probe


def hooked() -> list[Tensor | None]:
    """The gradient with two hooks, the first one removed."""
    weight = rows()
    handle = weight.register_hook(lambda gradient: gradient + 1)
    weight.register_hook(lambda gradient: gradient * 10)
    handle.remove()
    return passes(functional.embedding(torch.tensor([0]), weight), weight)
