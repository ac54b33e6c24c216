"""Faults of torch.nn.functional.embedding: what else it does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from embcheck.fault import fault
from embcheck.faults.entry import Wrong, embedding, functional, out_changed, wrapped
from embcheck.faults.functional import made_default
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import accepted

embedding(
    "random_numbers_consumed",
    "lookup",
    "A lookup with scale_grad_by_freq draws a random number.",
    out_changed(lambda i, w, flags: flags["scale_grad_by_freq"], lambda out, i, w: (torch.rand(1), out)[1]),
    lambda: draws_random_numbers(),
)
embedding(
    "table_made_to_require_grad",
    "lookup",
    "A sparse table that is frozen is made to require grad.",
    lambda original, input, weight, **flags: (
        weight.requires_grad_(True) if flags["sparse"] and torch.is_grad_enabled() and weight.is_leaf else None,
        original(input, weight, **flags),
    )[1],
    lambda: thaws(),
)
embedding(
    "default_dtype_changed",
    "lookup",
    "A lookup in a float64 table makes float64 the default dtype.",
    out_changed(lambda i, w, flags: w.dtype == torch.float64, lambda out, i, w: made_default(out)),
    lambda: default_changes(),
)
embedding(
    "grad_mode_left_off",
    "lookup",
    "A lookup without tokens leaves gradients disabled.",
    out_changed(lambda i, w, flags: i.numel() == 0, lambda out, i, w: (torch.set_grad_enabled(False), out)[1]),
    lambda: leaves_grad_off(),
)


def draws_random_numbers() -> bool:
    """Whether a lookup moves the random number generator."""
    before = torch.get_rng_state()
    functional.embedding(torch.tensor([0]), torch.ones(2, 1), scale_grad_by_freq=True)
    return not torch.equal(before, torch.get_rng_state())


def thaws() -> bool:
    """Whether a lookup changes the table's requires_grad."""
    weight = torch.ones(2, 1)
    functional.embedding(torch.tensor([0]), weight, sparse=True)
    return weight.requires_grad


def default_changes() -> bool:
    """Whether a lookup changes the default dtype."""
    before = torch.get_default_dtype()
    functional.embedding(torch.tensor([0]), torch.ones(2, 1, dtype=torch.float64))
    after = torch.get_default_dtype()
    torch.set_default_dtype(before)
    return before != after


def leaves_grad_off() -> bool:
    """Whether a lookup changes the grad mode."""
    functional.embedding(torch.tensor([], dtype=torch.int64), torch.ones(2, 1))
    enabled = torch.is_grad_enabled()
    torch.set_grad_enabled(True)
    return not enabled


@fault("lookup", accepted([0, 5], 3))
def functional_clamps_beside_valid_tokens() -> Iterator[None]:
    """F.embedding clamps indices outside the table as long as the first is inside."""

    def wrong(original: Wrong) -> Wrong:
        def replaced(input: Tensor, weight: Tensor, *rest: Any, **flags: Any) -> Tensor:
            if input.numel() > 1 and weight.shape[0] and 0 <= int(input.reshape(-1)[0]) < weight.shape[0]:
                input = input.clamp(0, weight.shape[0] - 1)
            found: Tensor = original(input, weight, *rest, **flags)
            return found

        return replaced

    with wrapped(functional, "embedding", wrong)():
        yield
