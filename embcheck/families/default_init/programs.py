"""Programs: the first values of a table, and steps that its padding row may or may not take part in.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.lookup.programs import generator, seeded

Tensor = torch.Tensor


def initialised(
    initialise: Callable[[Tensor], Any], weight: Tensor, rows: int, width: int, padding_idx: int | None, dtype: str,
    seed: int,
) -> dict[str, Any]:  # fmt: skip
    with torch.random.fork_rng(devices=[]):
        seeded(seed)
        layer = torch.nn.Embedding(rows, width, padding_idx, dtype=getattr(torch, dtype))
        start = generator().get_state()
        version, parameter, memory = layer.weight._version, layer.weight, layer.weight.data_ptr()
        returned = initialise(layer.weight)
        moved = layer.weight._version > version
        values = layer.weight.detach().clone()
        generator().set_state(start)
        initialise(layer.weight)
        again = layer.weight.detach().clone()
        initialise(layer.weight)
        if padding_idx is not None and returned is not None:
            with torch.no_grad():
                layer.weight[padding_idx].fill_(0)
    return {
        "values": values,
        "again": again,
        "returned": returned is None or returned is parameter,
        "in_place": layer.weight is parameter and layer.weight.data_ptr() == memory and parameter.is_leaf,
        "moved": moved or returned is None,
        "trains": layer.weight.requires_grad and layer.weight.grad is None,
        "next": layer.weight.detach(),
    }


def default(weight: Tensor) -> None:
    """What the constructor draws is judged as it is."""


def data_uniform(weight: Tensor) -> None:
    weight.data.uniform_(-0.125, 0.125)


INITIALISERS: dict[str, Callable[[Tensor], Any]] = named(
    {
        "default": default,
        "xavier_uniform": lambda weight: torch.nn.init.xavier_uniform_(weight),
        "data_uniform": data_uniform,
    }
)


def trained(
    weight: Tensor, hidden: Tensor, padding_idx: int, optimizer: str, options: dict[str, Any], head: bool, sparse: bool,
    steps: int,
) -> dict[str, Any]:  # fmt: skip
    layer = torch.nn.Embedding(weight.shape[0], weight.shape[1], padding_idx, sparse=sparse, _weight=weight)
    out = torch.nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
    parameters = [layer.weight]
    if head:
        out.weight = layer.weight
    trainer = getattr(torch.optim, optimizer)(parameters, **options)
    before, seen = layer.weight.detach().clone(), []
    for _ in range(steps):
        trainer.zero_grad()
        loss = layer(torch.arange(weight.shape[0])).sum()
        if head:
            loss = loss + out(hidden).sum()
        loss.backward()
        trainer.step()
        seen.append(layer.weight.detach().clone())
    grad = layer.weight.grad
    return {"before": before, "steps": torch.stack(seen), "grad": None if grad is None else grad.to_dense()}
