"""Faults of calling a module with other weights, and of running it in other ways."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around, pair

func = torch.func
functional = torch.nn.functional
checkpoints = torch.utils.checkpoint


class Model(torch.nn.Module):
    """Scores of tokens with one table."""

    def __init__(self) -> None:
        super().__init__()
        parts = pair()
        self.embedding, self.head = parts["embedding"], parts["head"]

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Scores of each token."""
        found: torch.Tensor = self.head(self.embedding(tokens))
        return found


TOKENS = torch.tensor([0, 2])


def other_numbers(original: Any, function: Any, *given: Any, use_reentrant: Any = None, **flags: Any) -> Any:
    """What is computed again draws new random numbers."""
    return original(function, *given, use_reentrant=use_reentrant, **(flags | {"preserve_rng_state": False}))


def recomputed() -> bool:
    """Whether a checkpointed dropout has the gradient of its output."""
    torch.manual_seed(0)
    weight = torch.ones(64, 2, requires_grad=True)
    call: Any = lambda w: functional.dropout(functional.embedding(torch.arange(64), w), 0.5)  # noqa: E731
    out = checkpoints.checkpoint(call, weight, use_reentrant=False)
    out.sum().backward()
    return bool((weight.grad == out).all())


def seeded(probe: Any) -> Any:
    """A probe that leaves the random numbers as they were."""

    def call() -> Any:
        kept = torch.get_rng_state()
        try:
            return probe()
        finally:
            torch.set_rng_state(kept)

    return call


around(
    "checkpoints_draw_anew",
    "gradient_routes",
    "What a checkpoint computes again has other random numbers.",
    checkpoints,
    "checkpoint",
    other_numbers,
    seeded(recomputed),
)


def stacked_as_first(original: Any, models: Any) -> Any:
    """The stack; what one of the models has frozen is taken to be so in all."""
    kept = [(p, p.requires_grad) for model in models for p in model.parameters()]
    frozen = not all(trains for _, trains in kept)
    for p, _ in kept:
        p.requires_grad_(not frozen)
    try:
        return original(models)
    finally:
        for p, trains in kept:
            p.requires_grad_(trains)


around(
    "stacks_mix_frozen_and_trained",
    "construction",
    "stack_module_state stacks models of which some are frozen.",
    func,
    "stack_module_state",
    stacked_as_first,
    lambda: func.stack_module_state([Model(), Model().requires_grad_(False)])[0]["embedding.weight"],
)
