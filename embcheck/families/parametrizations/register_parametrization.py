"""Programs: torch.nn.utils.parametrize.register_parametrization on one side of a tied pair, cached and removed."""

from __future__ import annotations

import copy
import gc
from typing import Any

import torch
from torch.nn.utils import parametrize

from embcheck.families.parametrizations.programs import Module, Tensor, learned, now, sides, used


def mapped(
    side: str,
    chain: tuple[int, bool],
    leave: bool,
    copied: bool,
    passing: int,
    evaluating: bool,
    frozen: bool,
    weight: Tensor,
    upstream: Tensor,
    values: Tensor,
) -> dict[str, Any]:
    layer, other = sides(weight, side, frozen)
    before, kind = layer.weight, type(layer)
    layer.train(not evaluating)
    original = registered(layer, *chain)
    seen: dict[str, Any] = {
        "kept": original is before and other.weight is before and original.is_leaf,
        "trains": original.requires_grad,
        "told": [
            parametrize.is_parametrized(layer),
            parametrize.is_parametrized(layer, "bias"),
            isinstance(layer, kind),
        ],
        "names": sorted(name for name, _ in layer.named_parameters()),
        "modes": sorted({layer.training, *(link.training for link in layer.parametrizations.weight)}),
        "at_first": original.detach().clone(),
        "set": learned(layer, upstream),
        "grad": original.grad,
    }
    twin = copy.deepcopy(layer) if copied else sides(weight.clone(), side, frozen)[0]
    written(twin.parametrizations.weight.original if copied else registered(twin, *chain), values)
    with parametrize.cached():
        used(layer)
        seen["twin"] = now(twin)
    seen["taken"] = taken_by_passers(weight, side, frozen, chain[1], passing)
    seen |= cached_twice(layer, original, values)
    seen["changed"] = now(layer)
    if chain[1]:
        layer.weight = upstream
        seen |= {"assigned": now(layer), "found": original.detach().clone()}
        written(original, values)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    return seen | {
        "removed": layer.weight is before and other.weight is before and type(layer) is kind,
        "trains_after": layer.weight.requires_grad,
        "after": now(layer),
    }


def registered(layer: Module, links: int, inverse: bool) -> Tensor:
    """The original of a layer's weight once links x ↦ 2x, then x ↦ x + 1, whose order shows, were registered."""

    class Doubled(torch.nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return given * 2

    class Raised(torch.nn.Module):
        def forward(self, given: Tensor) -> Tensor:
            return given + 1

    class Halving(Doubled):
        def right_inverse(self, given: Tensor) -> Tensor:
            return given / 2

    class Lowering(Raised):
        def right_inverse(self, given: Tensor) -> Tensor:
            return given - 1

    for link in ((Halving, Lowering) if inverse else (Doubled, Raised))[:links]:
        parametrize.register_parametrization(layer, "weight", link())
    original: Tensor = layer.parametrizations.weight.original
    return original


def written(original: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        original.copy_(values)


def taken_by_passers(weight: Tensor, side: str, frozen: bool, inverse: bool, passing: int) -> int:
    """How many layers, which come and go within cached() one at a time, have the weight of another."""
    taken = 0
    with parametrize.cached():
        for turn in range(passing):
            passer = sides(torch.full_like(weight, turn), side, frozen)[0]
            registered(passer, 1, inverse)
            taken += not bool((used(passer) == 2 * turn).all())
            del passer
            if turn % 8 == 7:
                gc.collect(0)
    return taken


def cached_twice(layer: Module, original: Tensor, values: Tensor) -> dict[str, Any]:
    """The weight within cached() before and after a write to the original, and whether it is one there and two outside."""
    seen: dict[str, Any] = {"caches": []}
    for turn in (1, 2):
        with parametrize.cached():
            first = layer.weight
            seen["caches"].append([first is layer.weight, bool((first == used(layer)).all())])
            seen[f"cached{turn}"] = first.detach().clone()
        written(original, values)
    return seen | {"fresh": layer.weight is not layer.weight}
