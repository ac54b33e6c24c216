"""Further routes: checkpoints over random numbers, which a recomputed forward has to draw again."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.utils.checkpoint

from embcheck.families.gradient_routes.programs import FURTHER, Seen, further
from embcheck.families.lookup.programs import Call, Rebuild, Tensor

Checkpoint = Callable[..., tuple[Tensor, Tensor]]


def dropped(call: Call, leaf: Tensor, indices: Tensor, upstream: Tensor, checkpoint: Checkpoint) -> Seen:
    """Rows of which some elements are dropped, by a mask that is seen too; then the backward pass.

    What is drawn in between is none of the checkpoint's business, and the backward pass leaves the generator alone.
    """

    def rows_and_mask(tokens: Tensor) -> tuple[Tensor, Tensor]:
        rows = call(tokens)
        mask = torch.nn.functional.dropout(torch.ones_like(rows), 0.5)
        return rows * mask, mask

    with torch.random.fork_rng(devices=()):
        torch.manual_seed(7)
        value, mask = checkpoint(rows_and_mask, indices)
        torch.rand(3)
        before = torch.random.get_rng_state()
        value.backward(upstream)
        kept = torch.equal(before, torch.random.get_rng_state())
    return {"weight_grad": leaf.grad, "mask": mask.detach(), "kept": kept}


@further
def dropped_in_checkpoint(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    def once(function: Checkpoint, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return torch.utils.checkpoint.checkpoint(function, tokens, use_reentrant=False)  # type: ignore[no-any-return]

    return dropped(call, leaf, indices, upstream, once)


@further
def dropped_in_module(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    class Dropping(torch.nn.Module):
        def __init__(self, function: Checkpoint) -> None:
            super().__init__()
            self.function = function

        def forward(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
            return self.function(tokens)

    def once(function: Checkpoint, tokens: Tensor) -> tuple[Tensor, Tensor]:
        return torch.utils.checkpoint.checkpoint(Dropping(function), tokens, use_reentrant=False)  # type: ignore[no-any-return]

    return dropped(call, leaf, indices, upstream, once)


@further
def dropped_in_two_checkpoints(leaf: Tensor, call: Call, indices: Tensor, upstream: Tensor, rebuild: Rebuild) -> Seen:
    def twice(function: Checkpoint, tokens: Tensor) -> tuple[Tensor, Tensor]:
        def inner(given: Tensor) -> tuple[Tensor, Tensor]:
            return torch.utils.checkpoint.checkpoint(function, given, use_reentrant=False)  # type: ignore[no-any-return]

        return torch.utils.checkpoint.checkpoint(inner, tokens, use_reentrant=False)  # type: ignore[no-any-return]

    return dropped(call, leaf, indices, upstream, twice)


#: Routes whose upstream gradient is sent through a mask.
DROPPING = frozenset(name for name in FURTHER if name.startswith("dropped"))
