"""Faults of torch.nn.functional.embedding: what else it does."""

from __future__ import annotations

import torch

from selfcheck.faults.entry import embedding, functional, out_changed

embedding(
    "random_numbers_consumed",
    "lookup",
    "A lookup with scale_grad_by_freq draws a random number.",
    out_changed(lambda i, w, flags: flags["scale_grad_by_freq"], lambda out, i, w: (torch.rand(1), out)[1]),
    lambda: draws_random_numbers(),
)


def draws_random_numbers() -> bool:
    """Whether a lookup moves the random number generator."""
    before = torch.get_rng_state()
    functional.embedding(torch.tensor([0]), torch.ones(2, 1), scale_grad_by_freq=True)
    return not torch.equal(before, torch.get_rng_state())
