"""Programs: torch.nn.utils.parametrize.register_parametrization on one side of a tied pair, cached and removed.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def mapped(
    sides: Callable[..., tuple[Module, Module]],
    used: Callable[[Module], Tensor],
    chain: Callable[..., tuple[Module, ...]],
    side: str,
    inverse: bool,
    links: int,
    leave: bool,
    copied: bool,
    passing: int,
    evaluating: bool,
    frozen: bool,
    weight: Tensor,
    upstream: Tensor,
    values: Tensor,
) -> dict[str, Any]:
    import contextlib
    import copy
    import gc
    import io
    import itertools
    import pickle

    from torch.nn.utils import parametrize

    layer, other = sides(weight, side, frozen)
    before, kind = layer.weight, type(layer)
    layer.train(not evaluating)
    for link in chain(links, inverse):
        parametrize.register_parametrization(layer, "weight", link)
    original = layer.parametrizations.weight.original
    found = used(layer)
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
        "set": found.detach().clone(),
    }
    if found.requires_grad:
        (found * upstream).sum().backward()
    seen["grad"] = original.grad
    refused = []
    for mode, pack in itertools.product((True, False), (pickle.dumps, lambda given: torch.save(given, io.BytesIO()))):
        layer.train(mode)
        try:
            pack(layer)
            refused.append(False)
        except RuntimeError:
            refused.append(True)
    layer.train()
    seen["refused"] = refused
    twin = copy.deepcopy(layer) if copied else sides(weight.clone(), side, frozen)[0]
    if not copied:
        for link in chain(links, inverse):
            parametrize.register_parametrization(twin, "weight", link)
    with torch.no_grad():
        twin.parametrizations.weight.original.copy_(values)
    with parametrize.cached():
        used(layer)
        seen["twin"] = used(twin).detach().clone()
    seen["taken"] = 0
    with parametrize.cached():  # of layers that come and go, one at a time
        for turn in range(passing):
            passer = sides(torch.full_like(weight, turn), side, frozen)[0]
            parametrize.register_parametrization(passer, "weight", chain(1, inverse)[0])
            seen["taken"] += not bool((used(passer) == 2 * turn).all())
            del passer
            if turn % 8 == 7:
                gc.collect(0)
    caches = []
    for turn in (1, 2):
        with parametrize.cached():
            first = layer.weight
            caches.append([first is layer.weight, bool((first == used(layer)).all())])
            with parametrize.cached():
                caches[-1].append(first is layer.weight)
            seen[f"cached{turn}"] = first.detach().clone()
        with torch.no_grad():
            original.copy_(values)
    fresh = layer.weight is not layer.weight
    for depth in (1, 2):
        with contextlib.suppress(ArithmeticError), contextlib.ExitStack() as regions:
            for _ in range(depth):
                regions.enter_context(parametrize.cached())
            used(layer)
            raise ArithmeticError
        fresh = fresh and layer.weight is not layer.weight
        with torch.no_grad():
            original.add_(1)
        now = used(layer)
        with parametrize.cached():  # which begins with nothing, however the one before was left
            fresh = fresh and torch.equal(used(layer), now)
        with torch.no_grad():
            original.copy_(values)
    seen |= {"caches": caches, "fresh": fresh, "changed": used(layer).detach().clone()}
    if inverse:
        layer.weight = upstream
        seen["assigned"] = used(layer).detach().clone()
        seen["found"] = original.detach().clone()
        with torch.no_grad():
            original.copy_(values)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    seen |= {
        "removed": layer.weight is before and other.weight is before and type(layer) is kind,
        "trains_after": layer.weight.requires_grad,
        "after": used(layer).detach().clone(),
    }
    return seen


def chain(links: int, inverse: bool) -> tuple[Module, ...]:
    """Links x ↦ 2x, then x ↦ x + 1, whose order shows; with right inverses or without."""

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

    return tuple(link() for link in ((Halving, Lowering) if inverse else (Doubled, Raised))[:links])
