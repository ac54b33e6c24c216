"""Programs: a tied weight is made to depend on other tensors: normed, orthogonal, pruned, or mapped by a function.

They import nothing but torch, for their source is what a counterexample's script shows.  Each acts on one side of a
tied pair, ``(layer, other)``, and tells the weight that the layer then uses, how it is kept, and what is left of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def sides(weight: Tensor, side: str, frozen: bool) -> tuple[Module, Module]:
    """The two layers of a tied pair, that of ``side`` first."""
    embedding: Module = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=frozen)
    head: Module = torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)
    head.weight = embedding.weight
    return (embedding, head) if side == "embedding" else (head, embedding)


def used(layer: Module) -> Tensor:
    """The weight as a call of the layer uses it: rows that are looked up, or the images of unit vectors."""
    if isinstance(layer, torch.nn.Embedding):
        found: Tensor = layer(torch.arange(layer.num_embeddings))
        return found
    images: Tensor = layer(torch.eye(layer.in_features, dtype=next(layer.parameters()).dtype))
    return images.t()


def copied_value(layer: Module, used: Callable[[Module], Tensor]) -> Tensor | None:
    """What a deep copy of a layer uses as its weight; nothing if it can't be copied."""
    import copy

    try:
        return used(copy.deepcopy(layer)).detach().clone()
    except RuntimeError:
        return None


def normed(
    sides: Callable[..., tuple[Module, Module]],
    used: Callable[[Module], Tensor],
    side: str,
    old: bool,
    dim: Any,
    frozen: bool,
    weight: Tensor,
    gains: Tensor,
    directions: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    import warnings

    from torch.nn.utils import parametrize

    tools = torch.nn.utils
    layer, other = sides(weight, side, frozen)
    before = layer.weight
    if old:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it is deprecated
            tools.weight_norm(layer, dim=dim)
        gain, direction = layer.weight_g, layer.weight_v
    else:
        tools.parametrizations.weight_norm(layer, dim=dim)
        gain, direction = layer.parametrizations.weight.original0, layer.parametrizations.weight.original1
    seen: dict[str, Any] = {
        "names": sorted(name.rpartition(".")[2] for name, _ in layer.named_parameters()),
        "shapes": [tuple(gain.shape), tuple(direction.shape)],
        "trains": [gain.requires_grad, direction.requires_grad],
        "at_first": used(layer).detach().clone(),
        "other_kept": other.weight is before and bool((other.weight == weight).all()),
    }
    with torch.no_grad():
        gain.copy_(gains)
        direction.copy_(directions)
    found = used(layer)
    seen["set"] = found.detach().clone()
    seen["copied"] = copied_value(layer, used)
    if found.requires_grad:
        (found * upstream).sum().backward()
    seen |= {"gain_grad": gain.grad, "direction_grad": direction.grad}
    if old or not frozen:  # what was frozen can't be taken out of its parametrization: see the ledger
        tools.remove_weight_norm(layer) if old else parametrize.remove_parametrizations(layer, "weight")
        seen["left"] = type(layer.weight) is torch.nn.Parameter and [n for n, _ in layer.named_parameters()] == [
            "weight"
        ]
        seen["after"] = used(layer).detach().clone()
    return seen


def bounded(
    sides: Callable[..., tuple[Module, Module]],
    used: Callable[[Module], Tensor],
    side: str,
    old: bool,
    frozen: bool,
    iterations: int,
    dim: Any,
    evaluating: bool,
    weight: Tensor,
    left: Tensor,
    right: Tensor,
) -> dict[str, Any]:
    tools = torch.nn.utils
    layer, other = sides(weight, side, frozen)
    before = layer.weight
    asked = {"n_power_iterations": iterations, "dim": dim}
    if old:
        tools.spectral_norm(layer, **asked)
        original, u, v = layer.weight_orig, layer.weight_u, layer.weight_v
    else:
        tools.parametrizations.spectral_norm(layer, **asked)
        inner = layer.parametrizations.weight
        original, u, v = inner.original, inner[0]._u, inner[0]._v
    u.copy_(left)
    v.copy_(right)
    layer.train(not evaluating)
    seen: dict[str, Any] = {
        "kept": original is before and other.weight is before,
        "trains": original.requires_grad,
        "set": used(layer).detach().clone(),
        "u": u.clone(),
        "v": v.clone(),
    }
    layer.eval()
    seen["evaluated"] = used(layer).detach().clone()
    seen["copied"] = copied_value(layer, used)
    seen["resting"] = torch.equal(u, seen["u"]) and torch.equal(v, seen["v"])
    return seen


def orthogonalized(
    sides: Callable[..., tuple[Module, Module]],
    used: Callable[[Module], Tensor],
    side: str,
    kind: str | None,
    trivial: bool,
    frozen: bool,
    weight: Tensor,
    upstream: Tensor,
    wanted: Tensor,
) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, other = sides(weight, side, frozen)
        before = layer.weight
        torch.nn.utils.parametrizations.orthogonal(layer, orthogonal_map=kind, use_trivialization=trivial)
        original = layer.parametrizations.weight.original
        found = used(layer)
        seen: dict[str, Any] = {
            "kept": original is before and other.weight is before,
            "trains": original.requires_grad,
            "set": found.detach().clone(),
        }
        if found.requires_grad:
            (found * upstream).sum().backward()
            torch.optim.SGD([original], lr=0.125).step()
        seen["stepped"] = used(layer).detach().clone()
        with torch.no_grad():
            original.mul_(0.9375)  # as weight decay does
        seen["decayed"] = used(layer).detach().clone()
        seen["assigned"] = None
        if trivial:
            layer.weight = wanted
            seen["assigned"] = used(layer).detach().clone()
        return seen


def pruned(
    sides: Callable[..., tuple[Module, Module]],
    used: Callable[[Module], Tensor],
    side: str,
    cuts: tuple[tuple[str, dict[str, Any]], ...],
    weighed: bool,
    frozen: bool,
    weight: Tensor,
    importance: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    from torch.nn.utils import prune

    layer, other = sides(weight, side, frozen)
    before = layer.weight
    fresh = prune.is_pruned(layer)
    beside = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=importance.detach() + 0.5)
    masks = []
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, options in cuts:
            given = dict(options)
            if weighed and name in ("l1_unstructured", "ln_structured"):
                given["importance_scores"] = importance
            if name == "custom_from_mask":
                given["mask"] = importance > 2
            if name == "global_unstructured":
                prune.global_unstructured([(layer, "weight"), (beside, "weight")], prune.L1Unstructured, **given)
            same = name == "global_unstructured" or getattr(prune, name)(layer, "weight", **given) is layer
            masks.append(layer.weight_mask.clone())
    found = used(layer)
    seen: dict[str, Any] = {
        "told": [fresh, prune.is_pruned(layer), same],
        "masks": torch.stack(masks),
        "set": found.detach().clone(),
        "original": layer.weight_orig.detach().clone(),
        "kept": layer.weight_orig is before and other.weight is before,
        "trains": layer.weight_orig.requires_grad,
        "names": [[name for name, _ in layer.named_parameters()], [name for name, _ in layer.named_buffers()]],
        "hooks": len(layer._forward_pre_hooks),
        "copied": copied_value(layer, used),
    }
    if found.requires_grad:
        (found * upstream).sum().backward()
    seen["grad"] = layer.weight_orig.grad
    with torch.no_grad():
        layer.weight_orig.mul_(-2)  # as a step would, after the last forward
    prune.remove(layer, "weight")
    seen |= {
        "removed": layer.weight is before and other.weight is before and not prune.is_pruned(layer),
        "clean": not layer._forward_pre_hooks and [name for name, _ in layer.named_buffers()] == [],
        "after": used(layer).detach().clone(),
    }
    return seen
