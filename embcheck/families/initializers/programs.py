"""Programs: a tensor is filled by torch.nn.init, or a linear layer by itself.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into
from embcheck.families.construction.seeding import seeded

Tensor = torch.Tensor
#: Fills a tensor, with a generator or with torch's own: those that are no functions of torch.nn.init.
Fill = Callable[..., Any]
OTHERS: dict[str, Fill] = {}


def filled(
    fill: Fill,
    call: tuple[Any, ...],
    sampler: tuple[Any, ...] | None,
    own_generator: bool,
    trains: bool,
    seed: int,
    weight: Tensor,
) -> dict[str, Any]:
    import warnings

    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        if not weight.numel():
            warnings.simplefilter("ignore")  # filling nothing warns
        seeded(seed)
        generator = torch.Generator().manual_seed(seed) if own_generator else None
        target = torch.nn.Parameter(weight, requires_grad=trains)
        gradient = target.grad = torch.ones_like(target) if trains else None
        mark = (target.data_ptr(), target.stride(), target.dtype)
        version, state, before = target._version, torch.get_rng_state(), target.detach().clone()

        def fill_again() -> Tensor:
            target.detach().copy_(before)
            fill(target, generator, *call)
            return target.detach().clone()

        returned = fill(target, generator, *call)
        kept = (target.data_ptr(), target.stride(), target.dtype) == mark
        values = target.detach().clone()
        undisturbed = torch.equal(torch.get_rng_state(), state)
        following = fill_again()
        seeded(seed)
        if generator is not None:
            generator.manual_seed(seed)
        again, following_again = fill_again(), fill_again()
        drawn = None
        if sampler is not None:
            seeded(seed)
            if generator is not None:
                generator.manual_seed(seed)
            drawn = getattr(target.detach(), sampler[0])(*sampler[1:], generator=generator).clone()
    return {
        "values": values,
        "following": following,
        "again": again,
        "following_again": following_again,
        "drawn": drawn,
        "returned": returned is target,
        "placed": kept,
        "counted": target._version > version or not weight.numel(),
        "rooted": target.is_leaf and target.requires_grad == trains,
        "graded": target.grad is gradient and (gradient is None or bool((gradient == 1).all())),
        "undisturbed": undisturbed,
    }


def fill_by(t: Tensor, g: Any, function: str, arguments: tuple[Any, ...], named: dict[str, Any]) -> Any:
    given = [g if value == "generator" else value for value in arguments]
    flags = {name: g if value == "generator" else value for name, value in named.items()}
    return getattr(torch.nn.init, function)(t, *given, **flags)


_fill = into(OTHERS)


@_fill
def linear_weight(t: Tensor, g: Any, *call: Any) -> Any:
    layer = torch.nn.Linear(t.shape[1], t.shape[0], dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.weight)


@_fill
def linear_bias(t: Tensor, g: Any, *call: Any) -> Any:
    layer = torch.nn.Linear(4, t.numel(), dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.bias.reshape(t.shape))


@_fill
def embedding(t: Tensor, g: Any, *call: Any) -> Any:
    layer = torch.nn.Embedding(t.shape[0], t.shape[1], dtype=t.dtype)
    with torch.no_grad():
        return t.copy_(layer.weight)
