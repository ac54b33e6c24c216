"""What a Parameter may be made of, how, under which mode, and how it is put into which module.

The functions import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import into

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any

ORIGINS: dict[str, Callable[[Tensor], Tensor]] = {}
MAKINGS: dict[str, Callable[[Tensor, bool], Tensor]] = {}
UNDER: dict[str, Callable[[Callable[[], Any]], Any]] = {}
OWNERS: dict[str, Callable[[], Module]] = {}
PLACES: dict[str, Callable[[Module, str, Tensor], None]] = {}


# -- what it is made of ----------------------------------------------------------------------------------------------


@into(ORIGINS)
def plain(data: Tensor) -> Tensor:
    return data


@into(ORIGINS)
def leaf(data: Tensor) -> Tensor:
    return data.requires_grad_()


@into(ORIGINS)
def product(data: Tensor) -> Tensor:
    return data.detach().requires_grad_().view_as(data)


@into(ORIGINS)
def parameter(data: Tensor) -> Tensor:
    return torch.nn.Parameter(data)


@into(ORIGINS)
def frozen(data: Tensor) -> Tensor:
    return torch.nn.Parameter(data, requires_grad=False)


@into(ORIGINS)
def graded(data: Tensor) -> Tensor:
    made = torch.nn.Parameter(data)
    made.grad = torch.ones_like(made)
    return made


@into(ORIGINS)
def hooked(data: Tensor) -> Tensor:
    made = torch.nn.Parameter(data)
    made.register_hook(lambda grad: grad * 3)
    return made


@into(ORIGINS)
def detached(data: Tensor) -> Tensor:
    return torch.nn.Parameter(data).detach()


@into(ORIGINS)
def raw(data: Tensor) -> Tensor:
    return torch.nn.Parameter(data).data


@into(ORIGINS)
def buffer(data: Tensor) -> Tensor:
    module: Module = torch.nn.Module()
    module.register_buffer("mean", data)
    return module.mean  # type: ignore[no-any-return]


# -- how it is made ----------------------------------------------------------------------------------------------------


@into(MAKINGS)
def keyword(source: Tensor, requires_grad: bool) -> Tensor:
    return torch.nn.Parameter(source, requires_grad=requires_grad)


@into(MAKINGS)
def positional(source: Tensor, requires_grad: bool) -> Tensor:
    return torch.nn.Parameter(source, requires_grad)


@into(MAKINGS)
def by_default(source: Tensor, requires_grad: bool) -> Tensor:
    made = torch.nn.Parameter(source)
    return made if requires_grad else made.requires_grad_(False)


@into(MAKINGS)
def all_keywords(source: Tensor, requires_grad: bool) -> Tensor:
    return torch.nn.Parameter(requires_grad=requires_grad, data=source)


@into(MAKINGS)
def set_after(source: Tensor, requires_grad: bool) -> Tensor:
    made = torch.nn.Parameter(source, not requires_grad)
    made.requires_grad = requires_grad
    return made


@into(UNDER)
def enabled(act: Callable[[], Any]) -> Any:
    return act()


@into(UNDER)
def no_grad(act: Callable[[], Any]) -> Any:
    with torch.no_grad():
        return act()


@into(UNDER)
def inference(act: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return act()


# -- whose it becomes: modules without parameters so far ----------------------------------------------------------------


@into(OWNERS)
def bare() -> Module:
    return torch.nn.Module()


@into(OWNERS)
def table() -> Module:
    made = torch.nn.Embedding(1, 1)
    del made.weight
    return made


@into(OWNERS)
def line() -> Module:
    made = torch.nn.Linear(1, 1)
    del made.weight, made.bias
    return made


@into(OWNERS)
def sequence() -> Module:
    return torch.nn.Sequential()


# -- how it is put into a module -----------------------------------------------------------------------------------------


@into(PLACES)
def assigned(module: Module, slot: str, made: Tensor) -> None:
    setattr(module, slot, made)


@into(PLACES)
def registered(module: Module, slot: str, made: Tensor) -> None:
    module.register_parameter(slot, made)


@into(PLACES)
def deleted_first(module: Module, slot: str, made: Tensor) -> None:
    if slot in module._parameters:
        delattr(module, slot)
    setattr(module, slot, made)


@into(PLACES)
def none_first(module: Module, slot: str, made: Tensor) -> None:
    if slot in module._parameters:
        setattr(module, slot, None)
    setattr(module, slot, made)


@into(PLACES)
def twice(module: Module, slot: str, made: Tensor) -> None:
    setattr(module, slot, made)
    setattr(module, slot, made)


@into(PLACES)
def in_the_dict(module: Module, slot: str, made: Tensor) -> None:
    module._parameters[slot] = made
