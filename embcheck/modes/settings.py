"""Modes that set something around the call, or about its module, that must not matter."""

from collections.abc import Mapping
from typing import Any

import torch
from torch.nn.utils import parametrize

from embcheck.modes.layer import BOTH, IN_PLACE, MODULE, Tensor, inside, through
from embcheck.modes.mode import Program, add_mode, build_mode, mode

Module = torch.nn.Module
#: Our own spellings and histories that make a tensor of their own.
_ELSEWHERE = {
    f"entry={name}": "it makes offsets on the default device itself"
    for name in ("bag_mean", "torch_bag", "forward_only", "aten & bag_count>=0")
}

_LAYER: dict[str, Any] = {"calls": BOTH, "rebuilds": True, "keeps_names": True, "cannot": MODULE}


@build_mode("train", through, cost=0.25, **{**_LAYER, "cannot": MODULE | {"limited": IN_PLACE}})
def training(layer: Module) -> Module:
    """layer.train() after a call in layer.eval()."""

    def evaluated(module: Module, given: tuple[Any, ...], named: dict[str, Any]) -> None:
        handle.remove()
        with torch.no_grad():
            module.eval()(*given, **named)
        module.train()

    # Before hooks of the layer, which make for the call that follows what it needs.
    handle = layer.register_forward_pre_hook(evaluated, prepend=True, with_kwargs=True)
    return layer.train()


@build_mode("eval", through, cost=0.25, **_LAYER)
def evaluating(layer: Module) -> Module:
    """layer.eval(): a table has nothing that trains otherwise."""
    return layer.eval()


_SERVED = "layer.eval(), called without a graph: what is kept for that may be stale."
add_mode("serving", _SERVED, through, evaluating, grad=False, cost=0.25, **_LAYER)


class Same(torch.nn.Module):
    def forward(self, table: Tensor) -> Tensor:
        return table


@build_mode("parametrize", through, calls=BOTH, rebuilds=True, cannot=MODULE, cost=1.5)
def parametrized_by_itself(layer: Module) -> Module:
    """torch.nn.utils.parametrize with the identity."""
    ((name, _),) = layer.named_parameters()
    owner, _, attribute = name.rpartition(".")
    parametrize.register_parametrization(layer.get_submodule(owner), attribute, Same())
    return layer


@mode("deterministic", calls=BOTH)
def deterministic(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """torch.use_deterministic_algorithms, which also fills new memory with NaN."""
    torch.use_deterministic_algorithms(True)
    try:
        return program(**arguments)
    finally:
        torch.use_deterministic_algorithms(False)


@build_mode("default_device", inside, calls=BOTH, cannot=_ELSEWHERE)
def meta_by_default() -> torch.device:
    """The call while the default device is meta: what it makes must lie on the table's."""
    return torch.device("meta")


@mode("default_float64", calls=BOTH)
def default_float64(program: Program, **arguments: Any) -> Mapping[str, Any]:
    """While the default dtype is float64."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        return program(**arguments)
    finally:
        torch.set_default_dtype(before)
