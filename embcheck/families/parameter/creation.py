"""What a Parameter may be made of, under which mode, how it is put into a module, and what a module must not take."""

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


#: What it is made of.
ORIGINS: dict[str, Callable[[Tensor], Tensor]] = named(
    {
        "plain": lambda data: data,
        "leaf": lambda data: data.requires_grad_(),
        "product": lambda data: data.detach().requires_grad_().view_as(data),
        "frozen": lambda data: nn.Parameter(data, requires_grad=False),
        "graded": graded,
        "hooked": hooked,
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


#: What has the slot's name before.
BEFORE: dict[str, Callable[[Module, str, Tensor], None]] = named(
    {
        "none": lambda m, slot, data: m.register_parameter(slot, None),
        "alike": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data))),
        "frozen": lambda m, slot, data: m.register_parameter(slot, nn.Parameter(torch.zeros_like(data), False)),
        "absent": lambda m, slot, data: None,
    },
    "before_",
)


def wrongly(attempt: Callable[[Module, Tensor], Any], data: Tensor) -> dict[str, Any]:
    module: Module = nn.Module()
    module.weight = nn.Parameter(torch.zeros(2))
    module.register_parameter("nothing", None)
    module.register_buffer("mean", torch.zeros(2))
    module.part = nn.Identity()
    module.number = 5

    def held() -> list[Any]:
        parts = (module._parameters, module._buffers, module._modules)
        return [module.number, *((name, id(thing)) for part in parts for name, thing in part.items())]

    kept = held()
    try:
        attempt(module, data)
    except Exception as error:
        if held() != kept:
            raise AssertionError("what was refused changed the module") from error
        raise
    return {}


#: What is attempted with a module ``m`` and a tensor.
ATTEMPTS: dict[str, Callable[[Module, Tensor], Any]] = named(
    {
        "tensor_assigned": lambda m, data: setattr(m, "weight", data),
        "detached_assigned": lambda m, data: setattr(m, "weight", nn.Parameter(data).detach()),
        "tensor_registered": lambda m, data: m.register_parameter("other", data),
        "product_registered": lambda m, data: m.register_parameter("other", nn.Parameter(data) * 1),
        "name_of_a_number": lambda m, data: m.register_parameter("number", nn.Parameter(data)),
        "name_of_a_buffer": lambda m, data: m.register_parameter("mean", nn.Parameter(data)),
        "name_of_a_part": lambda m, data: m.register_parameter("part", nn.Parameter(data)),
        "name_with_a_dot": lambda m, data: m.register_parameter("a.b", nn.Parameter(data)),
        "buffer_over_a_parameter": lambda m, data: m.register_buffer("weight", data),
        "part_over_a_parameter": lambda m, data: m.add_module("weight", nn.Identity()),
        "getting_nothing": lambda m, data: m.get_parameter("other"),
        "integers_that_train": lambda m, data: nn.Parameter(data.long()),
    }
)
#: What each must raise.
ERRORS: dict[str, tuple[type[Exception], ...]] = {
    **dict.fromkeys(ATTEMPTS, (TypeError,)),
    "product_registered": (TypeError, ValueError),
    **dict.fromkeys((name for name in ATTEMPTS if name.startswith("name_") or "_over_" in name), (KeyError,)),
    "getting_nothing": (AttributeError,),
    "integers_that_train": (RuntimeError,),
}
