"""Faults of max_norm at the ends of its range, in tables with gaps, and with a memory of its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import functional
from embcheck.faults.kernels import Tensor
from embcheck.faults.renorm import Scale, rescale


def bounded(
    table: list[list[float]], tokens: list[int], bound: float = 1.0, order: float = 2.0, **flags: Any
) -> Callable[[], Tensor]:
    """A table after a lookup with max_norm."""

    def probe() -> Tensor:
        weight = torch.tensor(table)
        functional.embedding(torch.tensor(tokens), weight, max_norm=bound, norm_type=order, **flags)
        return weight

    return probe


def once() -> Scale:
    """Rows rescaled once only."""
    done: set[tuple[int, int]] = set()

    def change(weight: Tensor, tokens: Tensor, bound: float, order: float) -> None:
        fresh = [token for token in tokens.tolist() if (weight.data_ptr(), token) not in done]
        rescale(weight, torch.tensor(fresh, dtype=torch.int64), bound, order)
        done.update((weight.data_ptr(), token) for token in fresh)
        if len(done) > 4096:
            done.clear()

    return change


FIVE = [[3.0, 4.0], [6.0, 8.0], [0.0, 5.0], [5.0, 0.0], [9.0, 12.0]]


def strided() -> Tensor:
    """A table after a lookup of every second token."""
    weight = torch.tensor(FIVE)
    functional.embedding(torch.tensor([0, 1, 2, 3])[::2], weight, max_norm=1.0)
    return weight
