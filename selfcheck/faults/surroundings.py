"""Faults of torch.nn.functional.embedding: what else it does."""

from __future__ import annotations

import torch

from selfcheck.faults.entry import embedding, out_changed

embedding(
    "random_numbers_consumed",
    "lookup",
    "A lookup with scale_grad_by_freq draws a random number.",
    out_changed(lambda i, w, flags: flags["scale_grad_by_freq"], lambda out, i, w: (torch.rand(1), out)[1]),
)
