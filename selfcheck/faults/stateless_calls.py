"""Faults of calling a module with other weights, and of running it in other ways."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from selfcheck.faults.around import around

func = torch.func
checkpoints = torch.utils.checkpoint


def other_numbers(original: Any, function: Any, *given: Any, use_reentrant: Any = None, **flags: Any) -> Any:
    """What is computed again draws new random numbers."""
    return original(function, *given, use_reentrant=use_reentrant, **(flags | {"preserve_rng_state": False}))


around(
    "checkpoints_draw_anew",
    "gradient_routes",
    "What a checkpoint computes again has other random numbers.",
    checkpoints,
    "checkpoint",
    other_numbers,
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
)
