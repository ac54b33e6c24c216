"""Programs: a weight is normed by its name; a module has two, each of which is parametrized or normed by its own."""

import warnings
from typing import Any

import torch
from torch.nn import utils
from torch.nn.utils import parametrize

from embcheck.families.tie_export.programs import Doubling


class TwoWeights(torch.nn.Module):
    """A table and a head that are not tied, whose rows have the lengths 5 and 10; a call shows both."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.head = (torch.nn.Parameter(torch.tensor([[3.0, 4.0], [6.0, 8.0]])) for _ in range(2))

    def forward(self) -> list[Any]:
        return [self.table.tolist(), self.head.tolist()]


def norm_weight(module: Any, name: str, dim: Any, old: bool) -> tuple[Any, Any]:
    """The gain and the direction of a weight that is normed, by the old function or by the parametrization."""
    if not old:
        utils.parametrizations.weight_norm(module, name, dim)
        parts = module.parametrizations[name]
        return parts.original0, parts.original1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it is deprecated
        utils.weight_norm(module, name, dim)
    return getattr(module, f"{name}_g"), getattr(module, f"{name}_v")


def normed_by_name(old: bool) -> list[Any]:
    """Both weights once both gains are 10, and, where the table's norm was removed, once the head's gain is 5."""
    module = TwoWeights()
    gains = [norm_weight(module, name, 0, old)[0] for name in ("table", "head")]
    for gain in gains:
        gain.data.fill_(10.0)
    seen = [module()]
    (utils.remove_weight_norm if old else parametrize.remove_parametrizations)(module, "table")
    gains[1].data.fill_(5.0)
    return [*seen, module()]


def told_by_name() -> list[list[bool]]:
    """Whether table and head are parametrized, in a module whose table's parametrization was removed, and in another one to which
    it alone was transferred before."""
    module, other = TwoWeights(), TwoWeights()
    for name in ("table", "head"):
        parametrize.register_parametrization(module, name, Doubling())
    parametrize.transfer_parametrizations_and_params(module, other, "table")
    parametrize.remove_parametrizations(module, "table")
    return [[parametrize.is_parametrized(each, name) for name in ("table", "head")] for each in (module, other)]
