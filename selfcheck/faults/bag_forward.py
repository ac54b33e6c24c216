"""Faults of the forward kernels of the embedding bag: one mode, dtype, size or option at a time."""

from __future__ import annotations

import torch

from selfcheck.faults.bag_kernels import FROZEN, SUM, When, forward


def mode_is(mode: int, dtype: torch.dtype | None = None) -> When:
    """Whether the call is in one mode, and dtype."""
    return lambda bag: bag.mode == mode and dtype in (None, bag.weight.dtype)


forward(
    "bagk_output_is_wide", "A sum of float16 comes in float32 where nothing learns.",
    mode_is(SUM, torch.float16),
    only=FROZEN, spoil=lambda bag, out: out.float(),
)  # fmt: skip
forward(
    "bagk_one_token_is_a_view", "A sum of one bag of one token is the table's own row.",
    lambda bag: bag.mode == SUM and bag.bags == 1 and len(bag.indices) == 1 and bag.samples is None
    and bag.padding < 0 and not bag.last, only=FROZEN,
    spoil=lambda bag, out: bag.weight.detach()[int(bag.indices[0]):int(bag.indices[0]) + 1],
)  # fmt: skip
