"""Programs: how a tensor becomes a module's weight, and what must be refused.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Call = Callable[[Tensor], Tensor]
Assign = Callable[[Module, Tensor], tuple[Tensor, Call]]
Mistake = Callable[[Module, Tensor, Tensor], Any]

ASSIGNMENTS: dict[str, Assign] = {}
MISTAKES: dict[str, Mistake] = {}

#: Assignments that copy into the target's own memory; that keep the target's own requires_grad; that freeze.
INTO_PLACE = frozenset({"copy", "load"})
KEEPING = INTO_PLACE | {"data", "set", "load_assign"}
FREEZING = frozenset({"keyword_frozen"})
#: Assignments whose Parameter is not registered in the target: it is given at the call.
AT_CALL = frozenset({"functional_call"})
#: What each mistake must raise, and whether it replaces the weight before it fails.
RAISES: dict[str, type[Exception]] = {
    "untransposed": RuntimeError,
    "plain_tensor": TypeError,
    "plain_registered": TypeError,
    "integers_required": RuntimeError,
    "load_untransposed": RuntimeError,
    "load_assign_untransposed": RuntimeError,
    "copy_tracked": RuntimeError,
    "load_other_name": RuntimeError,
}
REPLACING = frozenset({"untransposed"})


def mistake(make: Mistake, replaces: bool, weight: Tensor, x: Tensor) -> dict[str, Any]:
    target = torch.nn.Linear(weight.shape[0], weight.shape[1], dtype=weight.dtype)
    before, bits = target.weight, target.weight.detach().clone()
    try:
        made = make(target, weight, x)
    except Exception as error:
        if target.weight is not before and not replaces:
            raise AssertionError("a refused assignment replaced the weight") from error
        if not torch.equal(before, bits) or not before.requires_grad:
            raise AssertionError("a refused assignment changed the weight") from error
        raise
    return {"made": made}


# -- how it becomes the target's weight ----------------------------------------------------------------------------


@into(ASSIGNMENTS)
def attribute(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.weight = torch.nn.Parameter(view)
    return target.weight, target


@into(ASSIGNMENTS)
def keyword_frozen(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.weight = torch.nn.Parameter(view, requires_grad=False)
    return target.weight, target


@into(ASSIGNMENTS)
def register(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.register_parameter("weight", torch.nn.Parameter(view))
    return target.weight, target


@into(ASSIGNMENTS)
def data_(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.weight.data = view
    return target.weight, target


@into(ASSIGNMENTS)
def set_(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    with torch.no_grad():
        target.weight.set_(view)
    return target.weight, target


@into(ASSIGNMENTS)
def copy(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    with torch.no_grad():
        target.weight.copy_(view)
    return target.weight, target


@into(ASSIGNMENTS)
def load(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.load_state_dict({"weight": view}, strict=False)
    return target.weight, target


@into(ASSIGNMENTS)
def load_assign(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    target.load_state_dict({"weight": view}, strict=False, assign=True)
    return target.weight, target


@into(ASSIGNMENTS)
def swap(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    torch.utils.swap_tensors(target.weight, torch.nn.Parameter(view))
    return target.weight, target


@into(ASSIGNMENTS)
def functional_call(target: Module, view: Tensor) -> tuple[Tensor, Call]:
    leaf = torch.nn.Parameter(view)
    return leaf, lambda x: torch.func.functional_call(target, {"weight": leaf}, (x,))


# -- what must be refused --------------------------------------------------------------------------------------------


@into(MISTAKES)
def untransposed(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.weight = torch.nn.Parameter(weight)
    return target(x)


@into(MISTAKES)
def plain_tensor(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.weight = weight.T


@into(MISTAKES)
def plain_registered(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.register_parameter("weight", weight.T)


@into(MISTAKES)
def integers_required(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.weight = torch.nn.Parameter(weight.T.long(), requires_grad=True)


@into(MISTAKES)
def load_untransposed(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.load_state_dict({"weight": weight}, strict=False)


@into(MISTAKES)
def load_assign_untransposed(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.load_state_dict({"weight": weight}, strict=False, assign=True)


@into(MISTAKES)
def copy_tracked(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.weight.copy_(weight.T)


@into(MISTAKES)
def load_other_name(target: Module, weight: Tensor, x: Tensor) -> Any:
    target.load_state_dict({"weights": weight.T, "bias": target.bias.detach()})
