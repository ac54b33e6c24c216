"""What a Parameter may be made of, how, under which mode, and how it is put into which module."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from embcheck.core.registry import named

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


def graded(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.grad = torch.ones_like(made)
    return made


def hooked(data: Tensor) -> Tensor:
    made = nn.Parameter(data)
    made.register_hook(lambda grad: grad * 3)
    return made


def buffer(data: Tensor) -> Tensor:
    module: Module = nn.Module()
    module.register_buffer("mean", data)
    return module.mean  # type: ignore[no-any-return]


#: What it is made of.
ORIGINS: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "plain": lambda data: data,
        "leaf": lambda data: data.requires_grad_(),
        "product": lambda data: data.detach().requires_grad_().view_as(data),
        "parameter": lambda data: nn.Parameter(data),
        "frozen": lambda data: nn.Parameter(data, requires_grad=False),
        "graded": graded,
        "hooked": hooked,
        "detached": lambda data: nn.Parameter(data).detach(),
        "raw": lambda data: nn.Parameter(data).data,
        "buffer": buffer,
    }
)


def by_default(source: Tensor, requires_grad: bool) -> Tensor:
    made = nn.Parameter(source)
    return made if requires_grad else made.requires_grad_(False)


def set_after(source: Tensor, requires_grad: bool) -> Tensor:
    made = nn.Parameter(source, not requires_grad)
    made.requires_grad = requires_grad
    return made


#: How it is made.
MAKINGS: dict[str, Callable[[Tensor, bool], Tensor]] = named(
    {
        "keyword": lambda source, requires_grad: nn.Parameter(source, requires_grad=requires_grad),
        "positional": lambda source, requires_grad: nn.Parameter(source, requires_grad),
        "by_default": by_default,
        "all_keywords": lambda source, requires_grad: nn.Parameter(requires_grad=requires_grad, data=source),
        "set_after": set_after,
    }
)


def no_grad(act: Callable[[], Any]) -> Any:
    with torch.no_grad():
        return act()


def inference(act: Callable[[], Any]) -> Any:
    with torch.inference_mode():
        return act()


UNDER: dict[str, Callable[[Callable[[], Any]], Any]] = named(
    {
        "enabled": lambda act: act(),
        "no_grad": no_grad,
        "inference": inference,
    }
)


def table() -> Module:
    made = nn.Embedding(1, 1)
    del made.weight
    return made


def line() -> Module:
    made = nn.Linear(1, 1)
    del made.weight, made.bias
    return made


#: Whose it becomes: modules without parameters so far.
OWNERS: dict[str, Callable[[], Module]] = named(
    {
        "bare": lambda: nn.Module(),
        "table": table,
        "line": line,
        "sequence": lambda: nn.Sequential(),
    }
)

#: What has the slot's name before.
BEFORE: dict[str, Callable[[Module, str, Tensor], None]] = named(
    {
        "none": lambda m, slot, data: m.register_parameter(slot, None),
        "alike": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data))),
        "double": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data).double())),
        "frozen": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data), False)),
        "other_shape": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros(7))),
        "absent": lambda m, slot, data: None,
        "a_module": lambda m, slot, data: setattr(m, slot, nn.Linear(1, 1)),
        "a_buffer": lambda m, slot, data: m.register_buffer(slot, torch.zeros(1)),
        "a_number": lambda m, slot, data: setattr(m, slot, 3),
    },
    "before_",
)
#: What else than a Parameter may have had the slot's name.
OTHERS = ("a_module", "a_buffer", "a_number")


def deleted_first(module: Module, slot: str, made: Tensor) -> None:
    if slot in module._parameters:
        delattr(module, slot)
    setattr(module, slot, made)


def none_first(module: Module, slot: str, made: Tensor) -> None:
    if slot in module._parameters:
        setattr(module, slot, None)
    setattr(module, slot, made)


def twice(module: Module, slot: str, made: Tensor) -> None:
    setattr(module, slot, made)
    setattr(module, slot, made)


#: How it is put into a module.
PLACES: dict[str, Callable[[Module, str, Tensor], None]] = named(
    {
        "assigned": lambda m, slot, made: setattr(m, slot, made),
        "registered": lambda m, slot, made: m.register_parameter(slot, made),
        "deleted_first": deleted_first,
        "none_first": none_first,
        "twice": twice,
        "in_the_dict": lambda m, slot, made: m._parameters.update({slot: made}),
    }
)
