"""Faults of calling a module with other weights, and of running it in other ways."""

from __future__ import annotations

from typing import Any

import torch
import torch.utils.checkpoint

from embcheck.faults.around import around, numbered, pair

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
around(
    "calls_tie_always",
    "life",
    "functional_call(tie_weights=False) ties all the same.",
    func,
    "functional_call",
    lambda original, *given, tie_weights=True, **flags: original(*given, tie_weights=True, **flags),
    lambda: func.functional_call(Model(), {"head.weight": numbered() * 2}, (TOKENS,), tie_weights=False),
)
around(
    "strict_calls_accept_what_is_missing",
    "life",
    "functional_call(strict=True) takes the module's own weights for missing ones.",
    func,
    "functional_call",
    lambda original, *given, strict=False, **flags: original(*given, strict=False, **flags),
    lambda: func.functional_call(Model(), {"other.weight": numbered()}, (TOKENS,), strict=True),
)


def attached(original: Any, models: Any) -> Any:
    """What is stacked has a graph back to the models."""
    parameters, buffers = original(models)
    for name in parameters:
        rows = [dict(model.named_parameters())[name] for model in models]
        if all(row.requires_grad for row in rows):
            parameters[name] = torch.stack(rows)
    return parameters, buffers


around(
    "stacked_state_is_no_leaf",
    "transform",
    "stack_module_state gives tensors that are computed from the modules' Parameters.",
    func,
    "stack_module_state",
    attached,
    lambda: func.stack_module_state([Model(), Model()])[0]["embedding.weight"],
)


def of_the_first(original: Any, function: Any, argnums: Any = 0, **flags: Any) -> Any:
    """Every argument has the first's Jacobian, where shapes agree."""
    inner = original(function, argnums, **flags)
    if not isinstance(argnums, tuple) or len(argnums) < 2 or flags.get("has_aux"):
        return inner

    def call(*given: Any, **more: Any) -> Any:
        found = inner(*given, **more)
        same = isinstance(found[0], torch.Tensor) and all(part.shape == found[0].shape for part in found)
        return (found[0],) * len(found) if same else found

    return call


around(
    "jacfwd_of_two_is_that_of_the_first",
    "transform",
    "jacfwd of several arguments of one shape gives the first one's Jacobian for all.",
    func,
    "jacfwd",
    of_the_first,
    lambda: func.jacfwd(lambda x, y: x * 2 + y * 3, (0, 1))(torch.ones(1), torch.ones(1)),
)


def all_mapped(original: Any, function: Any, in_dims: Any = 0, *given: Any, **flags: Any) -> Any:
    """In a dict of axes None is 0 where the sizes allow it."""
    if not isinstance(in_dims, tuple) or not any(isinstance(axes, dict) for axes in in_dims):
        return original(function, in_dims, *given, **flags)

    def call(*args: Any, **more: Any) -> Any:
        sizes = [
            a.shape[d] for a, d in zip(args, in_dims, strict=True) if isinstance(d, int) and isinstance(a, torch.Tensor)
        ]
        axes = tuple(
            {k: 0 if v is None and sizes and a[k].dim() and a[k].shape[0] == sizes[0] else v for k, v in d.items()}
            if isinstance(d, dict)
            else d
            for a, d in zip(args, in_dims, strict=True)
        )
        return original(function, axes, *given, **flags)(*args, **more)

    return call


def half_mapped() -> Any:
    """Samples of tokens with a dict of which one weight is for all."""
    weights = {"table": numbered(3, 2), "bias": torch.tensor([1.0, 2.0])}
    call = func.vmap(
        lambda w, i: functional.embedding(i, w["table"]) + w["bias"], in_dims=({"table": None, "bias": None}, 0)
    )
    return call(weights, torch.tensor([[0, 1], [2, 2]]))


around(
    "vmap_maps_what_is_for_all",
    "transform",
    "In a dict of in_dims vmap takes None for 0 where the size is that of the batch.",
    func,
    "vmap",
    all_mapped,
    half_mapped,
)


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
    "autograd",
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
