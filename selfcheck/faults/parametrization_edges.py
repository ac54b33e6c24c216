"""Further faults of torch.nn.utils: prunings of several weights or by chance, and parametrizations in a row."""

from __future__ import annotations

from typing import Any

import torch.nn.utils.parametrize as parametrize
import torch.nn.utils.prune as prune

from selfcheck.faults.around import around


def by_rows(original: Any, module: Any, name: str, amount: Any, dim: int) -> Any:
    """The last axis, counted from the end, is taken for the first."""
    return original(module, name, amount, 0 if dim == -1 else dim)


around("pruning_by_chance_takes_rows", "parametrizations", "random_structured with dim=-1 prunes rows.", prune,
       "random_structured", by_rows)  # fmt: skip


def trained(original: Any, module: Any, name: str, link: Any, **flags: Any) -> Any:
    """What is registered trains, whatever the layer does."""
    mode = link.training
    found = original(module, name, link, **flags)
    link.train(mode)
    return found


around("parametrizations_of_evaluated_layers_train", "parametrizations",
       "A parametrization that is registered on a layer in evaluation trains.", parametrize, "register_parametrization",
       trained)  # fmt: skip
