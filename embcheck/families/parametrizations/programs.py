"""Programs: a tied weight is made to depend on other tensors: normed, bounded, orthogonal or mapped.

Each acts on one side of a tied pair, ``(layer, other)``, and tells the weight that the layer then uses, how it is kept, and what is
left of it.
"""

import contextlib
import copy
from typing import Any

import torch
from torch.nn import utils
from torch.nn.utils import parametrize

from embcheck.families.param_groups.gradient_layouts import lying_as
from embcheck.families.parametrizations.two_weights import norm_weight, normed_by_name, told_by_name
from embcheck.families.tie_export.programs import Doubling
from embcheck.families.tie_preservation.programs import Module, Tensor


def sides(weight: Tensor, side: str, frozen: bool) -> tuple[Module, Module]:
    """The two layers of a tied pair, that of ``side`` first; of a weight that is no matrix two modules that show it."""

    class Shown(torch.nn.Module):
        def forward(self) -> Any:
            return self.weight

    if weight.dim() != 2:
        one, two = Shown(), Shown()
        one.weight = two.weight = torch.nn.Parameter(weight, not frozen)
        return one, two
    embedding: Module = torch.nn.Embedding(weight.shape[0], weight.shape[1], _weight=weight, _freeze=frozen)
    head: Module = torch.nn.Linear(weight.shape[1], weight.shape[0], False, dtype=weight.dtype)
    head.weight = embedding.weight
    return (embedding, head) if side == "embedding" else (head, embedding)


def used(layer: Module) -> Any:
    """The weight as a call of the layer uses it: rows that are looked up, or the images of unit vectors."""
    if isinstance(layer, torch.nn.Embedding):
        return layer(torch.arange(layer.num_embeddings))
    if not isinstance(layer, torch.nn.Linear):
        return layer()
    return layer(torch.eye(layer.in_features, dtype=next(layer.parameters()).dtype)).t()


def now(layer: Module) -> Any:
    """The same, as numbers that stay."""
    return used(layer).detach().clone()


def learned(layer: Module, upstream: Tensor) -> Any:
    """The same, once it was passed back."""
    found = used(layer)
    if found.requires_grad:
        (found * upstream).sum().backward()
    return found.detach().clone()


def gradient_again(layer: Module, original: Tensor, upstream: Tensor) -> list[Any]:
    """The weight and the gradient of its original, which has none then."""
    found = [learned(layer, upstream).tolist(), None if original.grad is None else original.grad.tolist()]
    original.grad = None
    return found


def passed_back(layer: Module, original: Tensor, upstream: Tensor, old: bool) -> tuple[Any, tuple[int, ...], Any]:
    """A layer's weight, its strides and the gradient of its original, which has none then; what is old computes it in a call."""
    weight = used(layer) if old else layer.weight
    if weight.requires_grad:
        (weight * upstream).sum().backward()
    grad, original.grad = original.grad, None
    return weight.detach().clone(), tuple((layer.weight if old else weight).stride()), grad


def relaid(original: Tensor, like: Tensor) -> None:
    """Has a Parameter lie in memory as another tensor of its shape does."""
    original.data = lying_as(like).copy_(original.detach())


def strides_of(layer: Module) -> list[tuple[int, ...]]:
    """Of the weight as it is asked for four times."""
    return [tuple(layer.weight.stride()) for _ in range(4)]


def copied_value(layer: Module) -> Any:
    """What a deep copy of a layer uses as its weight; nothing if it can't be copied."""
    try:
        return now(copy.deepcopy(layer))
    except RuntimeError:
        return None


def normed(
    side: str, old: bool, dim: Any, frozen: bool, weight: Tensor, gains: Tensor, directions: Tensor, upstream: Tensor
) -> dict[str, Any]:
    layer, other = sides(weight, side, frozen)
    before = layer.weight
    gain, direction = norm_weight(layer, "weight", dim, old)
    seen: dict[str, Any] = {
        "names": sorted(name.rpartition(".")[2] for name, _ in layer.named_parameters()),
        "shapes": [tuple(gain.shape), tuple(direction.shape)],
        "trains": [gain.requires_grad, direction.requires_grad],
        "at_first": now(layer),
        "other_kept": other.weight is before and bool((other.weight == weight).all()),
    }
    if not old:
        layer.weight = -weight / 2  # the norm of a larger one may overflow in float16
        seen["assigned"] = now(layer)
    relaid(direction, weight)
    layer.eval()
    with torch.no_grad():
        seen["again"] = now(layer)  # of which nothing may be kept
        written(gain, gains)
        written(direction, directions)
        seen["evaluated"] = now(layer)
    layer.train()
    seen |= {"set": learned(layer, upstream), "copied": copied_value(layer), "strides": strides_of(layer)}
    seen |= {"gain_grad": gain.grad, "direction_grad": direction.grad}
    if not old:
        twin = sides(weight.clone(), side, frozen)[0]
        utils.parametrizations.weight_norm(twin, dim=dim)
        # A model loads what it saved when its layer was normed by the deprecated function.
        torch.nn.Sequential(twin).load_state_dict({"0.weight_g": gain, "0.weight_v": direction})
        seen["loaded"] = now(twin)
        other = sides(-weight, side, frozen)[0]
        parametrize.transfer_parametrizations_and_params(layer, other)
        parametrize.register_parametrization(other, "weight", Doubling())
        seen["doubled"] = now(other)
    if frozen:  # what is generated has no part in it, so that some cases are enough
        seen["by_name"] = normed_by_name(old)
    if old or not frozen:  # what was frozen can't be taken out of its parametrization: see the ledger
        utils.remove_weight_norm(layer) if old else parametrize.remove_parametrizations(layer, "weight")
        names = [name for name, _ in layer.named_parameters()]
        seen |= {"left": type(layer.weight) is torch.nn.Parameter and names == ["weight"], "after": now(layer)}
    return seen


def bounded(
    side: str,
    old: bool,
    frozen: bool,
    iterations: int,
    dim: Any,
    evaluating: bool,
    weight: Tensor,
    left: Tensor,
    right: Tensor,
    upstream: Tensor,
) -> dict[str, Any]:
    layer, other = sides(weight, side, frozen)
    before = layer.weight
    norm = utils.spectral_norm if old else utils.parametrizations.spectral_norm
    norm(layer, n_power_iterations=iterations, dim=dim)
    if old:
        original, u, v = layer.weight_orig, layer.weight_u, layer.weight_v
    else:
        inner = layer.parametrizations.weight
        original = inner.original
        u, v = (left, right) if weight.dim() < 2 else (inner[0]._u, inner[0]._v)  # a vector is divided by its norm
    u.copy_(left)
    v.copy_(right)
    layer.train(not evaluating)
    called = [passed_back(layer, original, upstream, old)]
    kept = original is before and other.weight is before
    seen: dict[str, Any] = {"kept": kept, "trains": original.requires_grad, "u": u.clone(), "v": v.clone()}
    layer.eval()
    called += [passed_back(layer, original, upstream, old) for _ in range(3)]
    seen |= dict(zip(("weights", "strides", "grads"), map(list, zip(*called, strict=True)), strict=True))
    seen |= {"evaluated": now(layer), "copied": copied_value(layer)}
    twin = sides(weight.clone(), side, frozen)[0]
    norm(twin, dim=dim)
    twin.load_state_dict(layer.state_dict())
    seen["loaded"] = now(twin.eval())
    # In half precision u and v may be NaN.
    pairs = (u, seen["u"]), (v, seen["v"])
    if old:
        utils.remove_spectral_norm(layer)
        seen["removed"] = now(layer)
    return seen | {"resting": all(torch.equal(a.nan_to_num(), b.nan_to_num()) for a, b in pairs)}


def orthogonalized(side: str, map: str | None, frozen: bool, weight: Tensor, upstream: Tensor) -> dict[str, Any]:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layer, other = sides(weight, side, frozen)
        before = layer.weight
        utils.parametrizations.orthogonal(layer, orthogonal_map=map)
        original = layer.parametrizations.weight.original
        relaid(original, weight)
        seen: dict[str, Any] = {
            "kept": original is before and other.weight is before,
            "trains": original.requires_grad,
            "repeated": [gradient_again(layer, original, upstream) for _ in range(4)],
            "set": learned(layer, upstream),
            "strides": strides_of(layer),
            "base": layer.parametrizations.weight[0].base.clone(),
            "grad": original.grad,
        }
        if original.grad is not None:
            torch.optim.SGD([original], lr=0.125).step()
        seen |= {"stepped": now(layer), "moved": original.detach().clone()}
        written(original, 0.9375 * original)  # as weight decay does
        twin = sides(weight.clone(), side, frozen)[0]
        utils.parametrizations.orthogonal(twin, orthogonal_map=map)
        twin.load_state_dict(layer.state_dict())
        plain = sides(weight.clone(), side, frozen)[0]
        utils.parametrizations.orthogonal(plain, orthogonal_map=map, use_trivialization=False)
        written(plain.parametrizations.weight.original, seen["moved"])
        seen |= {"without_base": now(plain), "keys": list(plain.state_dict()), "swapped": swapped(map)}
        return seen | {"decayed": now(layer), "loaded": now(twin)}


def swapped(map: str | None) -> list[Any]:
    """The orthogonal weight of a layer that was given a permutation, once that is changed."""
    layer: Module = torch.nn.Linear(2, 2, bias=False)
    utils.parametrizations.orthogonal(layer, orthogonal_map=map)
    given = torch.eye(2).flip(0)
    layer.weight = given
    given.zero_()
    return list(layer.weight.tolist())


def mapped(
    side: str,
    links: int,
    inverse: bool,
    leave: bool,
    copied: bool,
    evaluating: bool,
    frozen: bool,
    weight: Tensor,
    upstream: Tensor,
    values: Tensor,
) -> dict[str, Any]:
    layer, other = sides(weight, side, frozen)
    before, kind = layer.weight, type(layer)
    layer.train(not evaluating)
    original = registered(layer, links, inverse, not leave)
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
    twin, tied = copy.deepcopy((layer, other))
    seen["copied_tied"] = twin.parametrizations.weight.original is tied.weight
    twin = twin if copied else sides(weight.clone(), side, frozen)[0]
    written(twin.parametrizations.weight.original if copied else shared(layer, twin), values)
    if copied:
        spare = sides(weight.clone(), side, frozen)[0]
        registered(spare, links, inverse, not leave)
        seen |= {**beside_a_copy(spare), "told_by_name": told_by_name()}
    with contextlib.suppress(InterruptedError), parametrize.cached():
        used(layer)
        seen["twin"] = now(twin)
        raise InterruptedError  # after which nothing is cached, either
    seen |= cached_twice(layer, original, values)
    seen["changed"] = now(layer)
    if inverse:
        with parametrize.cached() if copied else contextlib.nullcontext():
            layer.weight = upstream
        seen |= {"assigned": now(layer), "found": original.detach().clone()}
        written(original, values)
    parametrize.remove_parametrizations(layer, "weight", leave_parametrized=leave)
    return seen | {
        "buffer": buffer_left(leave),
        "removed": layer.weight is before and other.weight is before and type(layer) is kind,
        "trains_after": layer.weight.requires_grad,
        "after": now(layer),
    }


def beside_a_copy(layer: Module) -> dict[str, Any]:
    """The original of a parametrized layer, and whether it has a weight, once a deep copy of it was changed and has no
    parametrization any more."""
    original, twin = layer.parametrizations.weight.original, copy.deepcopy(layer)
    written(twin.parametrizations.weight.original, torch.zeros_like(original))
    parametrize.remove_parametrizations(twin, "weight")
    return {"beside_copy": original.detach().clone(), "has_weight": hasattr(layer, "weight")}


def buffer_left(leave: bool) -> list[Any]:
    """A buffer of ones that was parametrized: its value since, and the names of buffers, parameters and state."""
    module: Module = torch.nn.Module()
    module.register_buffer("scale", torch.ones(()))
    parametrize.register_parametrization(module, "scale", Doubling())
    parametrize.remove_parametrizations(module, "scale", leave_parametrized=leave)
    every = dict(module.named_buffers()), dict(module.named_parameters()), module.state_dict()
    return [float(module.scale), *map(list, every)]


def registered(layer: Module, links: int, inverse: bool, unsafe: bool) -> Any:
    """The original of a layer's weight once links x ↦ 2x, then x ↦ x + 1, whose order shows, were registered; what is unsafe is
    not checked."""

    class Link(torch.nn.Module):
        def __init__(self, factor: int, summand: int) -> None:
            super().__init__()
            self.factor, self.summand = factor, summand

        def forward(self, given: Tensor) -> Tensor:
            return given * self.factor + self.summand

    class Invertible(Link):
        def right_inverse(self, given: Tensor) -> Tensor:
            return (given - self.summand) / self.factor

    for numbers in ((2, 0), (1, 1))[:links]:
        parametrize.register_parametrization(
            layer, "weight", (Invertible if inverse else Link)(*numbers), unsafe=unsafe
        )
    return layer.parametrizations.weight.original


def shared(layer: Module, twin: Module) -> Any:
    """The original of a second layer's weight once the first one's links were registered there, too."""
    for link in layer.parametrizations.weight:
        parametrize.register_parametrization(twin, "weight", link)
    return twin.parametrizations.weight.original


def written(original: Tensor, values: Tensor) -> None:
    with torch.no_grad():
        original.copy_(values)


def cached_twice(layer: Module, original: Tensor, values: Tensor) -> dict[str, Any]:
    """The weight within cached() before and after a write to the original, first without gradients, and whether it is one there
    and two outside."""
    seen: dict[str, Any] = {"caches": []}
    for turn in (1, 2):
        with torch.set_grad_enabled(turn == 2), parametrize.cached():
            first = layer.weight
            with parametrize.cached():  # whose end leaves what the outer one holds
                used(layer)
            seen["caches"].append([first is layer.weight, bool((first == used(layer)).all())])
            seen[f"cached{turn}"] = first.detach().clone()
        written(original, values)
    return seen | {"fresh": layer.weight is not layer.weight}
