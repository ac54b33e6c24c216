"""Further faults of torch.nn.utils: prunings of several weights or by chance, and parametrizations in a row."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.utils.parametrize as parametrize
import torch.nn.utils.prune as prune

from embcheck.faults.around import around, numbered
from embcheck.faults.reparametrized import Doubled, table_layer


class Halving(Doubled):
    """Twice what it is given, and back."""

    def right_inverse(self, given: torch.Tensor) -> torch.Tensor:
        return given / 2


class Lowering(torch.nn.Module):
    """One more than what it is given, and back."""

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        return given + 1

    def right_inverse(self, given: torch.Tensor) -> torch.Tensor:
        return given - 1


def one_by_one(
    original: Any, parameters: Any, pruning_method: Any, importance_scores: Any = None, **flags: Any
) -> None:
    """Each weight loses the same share, or count, by itself."""
    for single in parameters:
        original([single], pruning_method, importance_scores, **flags)


def by_rows(original: Any, module: Any, name: str, amount: Any, dim: int) -> Any:
    """The last axis, counted from the end, is taken for the first."""
    return original(module, name, amount, 0 if dim == -1 else dim)


def forwards(original: Any, self: Any, value: torch.Tensor) -> None:
    """Right inverses are applied from the first to the last."""
    with torch.no_grad():
        for link in self:
            value = link.right_inverse(value)
        self.original.set_(value.clone())


def pruned_of_two() -> Any:
    """The mask of a small weight beside a large one."""
    small, large = table_layer(), torch.nn.Embedding(3, 2, _weight=numbered() + 100)
    prune.global_unstructured([(small, "weight"), (large, "weight")], prune.L1Unstructured, amount=0.5)
    return small.weight_mask.tolist()


def pruned_columns() -> Any:
    """How many are left in each column after one was pruned by chance."""
    layer = table_layer()
    with torch.random.fork_rng(devices=[]):
        prune.random_structured(layer, "weight", 1, -1)
    return sorted(layer.weight_mask.sum(0).tolist())


def assigned() -> Any:
    """What a weight is that was assigned behind two links."""
    layer = table_layer()
    for link in (Halving(), Lowering()):
        parametrize.register_parametrization(layer, "weight", link)
    layer.weight = numbered()
    return layer.weight.tolist()


around("global_pruning_is_local", "reparametrized", "global_unstructured prunes each weight by itself.", prune,
       "global_unstructured", one_by_one, pruned_of_two)  # fmt: skip
around("pruning_by_chance_takes_rows", "reparametrized", "random_structured with dim=-1 prunes rows.", prune,
       "random_structured", by_rows, pruned_columns)  # fmt: skip
around("right_inverses_go_forwards", "reparametrized", "Right inverses are applied from the first to the last.",
       parametrize.ParametrizationList, "right_inverse", forwards, assigned)  # fmt: skip


def forgetful(original: Any, parameters: Any, *given: Any, **flags: Any) -> None:
    """What was pruned before counts anew: the masks are forgotten."""
    listed = list(parameters)
    for module, name in listed:
        if hasattr(module, f"{name}_mask"):
            getattr(module, f"{name}_mask").fill_(1.0)
    original(listed, *given, **flags)


def pruned_again() -> Any:
    """The mask of a weight that was pruned, and then by the least of all."""
    layer = table_layer()
    prune.custom_from_mask(layer, "weight", torch.tensor([[1.0, 1.0], [1.0, 1.0], [1.0, 0.0]]))
    prune.global_unstructured([(layer, "weight")], prune.L1Unstructured, amount=1)
    return layer.weight_mask.tolist()


def trained(original: Any, module: Any, name: str, link: Any, **flags: Any) -> Any:
    """What is registered trains, whatever the layer does."""
    mode = link.training
    found = original(module, name, link, **flags)
    link.train(mode)
    return found


def mode_of_link() -> bool:
    """Whether a parametrization trains that was registered on a layer in evaluation."""
    layer = table_layer().eval()
    parametrize.register_parametrization(layer, "weight", Halving())
    return bool(layer.parametrizations.weight[0].training)


around("global_pruning_forgets_masks", "reparametrized", "global_unstructured forgets what was pruned before.", prune,
       "global_unstructured", forgetful, pruned_again)  # fmt: skip
around("parametrizations_of_evaluated_layers_train", "reparametrized",
       "A parametrization that is registered on a layer in evaluation trains.", parametrize, "register_parametrization",
       trained, mode_of_link)  # fmt: skip


def whole_in_copies(original: Any, self: Any, module: Any) -> Any:
    """A copy of a pruned layer uses its weight as it was: the mask is that of the layer which was pruned."""
    first = module.__dict__.setdefault("_pruned_as", id(module))
    return original(self, module) if first == id(module) else module.weight_orig


def used_by_a_copy() -> Any:
    """What the copy of a pruned and frozen table looks up."""
    layer = torch.nn.Embedding.from_pretrained(numbered())
    prune.l1_unstructured(layer, "weight", 3)
    layer(torch.tensor([0]))
    return copy.deepcopy(layer)(torch.arange(3))


around("copies_of_pruned_layers_are_whole", "reparametrized", "A deep copy of a pruned layer does not mask its weight.",
       prune.BasePruningMethod, "apply_mask", whole_in_copies, used_by_a_copy)  # fmt: skip
