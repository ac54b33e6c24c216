"""Further faults of torch.nn.utils: prunings of several weights or by chance, and parametrizations in a row."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.utils.parametrize as parametrize
import torch.nn.utils.prune as prune

from selfcheck.faults.around import around
from selfcheck.faults.parametrizations import Doubled, table_layer


class Halving(Doubled):
    """Twice what it is given, and back."""

    def right_inverse(self, given: torch.Tensor) -> torch.Tensor:
        return given / 2


def by_rows(original: Any, module: Any, name: str, amount: Any, dim: int) -> Any:
    """The last axis, counted from the end, is taken for the first."""
    return original(module, name, amount, 0 if dim == -1 else dim)


def pruned_columns() -> Any:
    """How many are left in each column after one was pruned by chance."""
    layer = table_layer()
    with torch.random.fork_rng(devices=[]):
        prune.random_structured(layer, "weight", 1, -1)
    return sorted(layer.weight_mask.sum(0).tolist())


around("pruning_by_chance_takes_rows", "parametrizations", "random_structured with dim=-1 prunes rows.", prune,
       "random_structured", by_rows, pruned_columns)  # fmt: skip


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


around("parametrizations_of_evaluated_layers_train", "parametrizations",
       "A parametrization that is registered on a layer in evaluation trains.", parametrize, "register_parametrization",
       trained, mode_of_link)  # fmt: skip
