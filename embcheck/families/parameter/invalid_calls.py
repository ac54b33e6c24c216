"""Programs: what a module must not take as a parameter, a buffer or a part."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from embcheck.core.registry import named

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any


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
        "tensor_assigned_to_none": lambda m, data: setattr(m, "nothing", data),
        "detached_assigned": lambda m, data: setattr(m, "weight", nn.Parameter(data).detach()),
        "product_assigned": lambda m, data: setattr(m, "weight", nn.Parameter(data) * 1),
        "number_assigned": lambda m, data: setattr(m, "weight", 0.0),
        "false_assigned": lambda m, data: setattr(m, "weight", False),
        "list_assigned": lambda m, data: setattr(m, "weight", [nn.Parameter(data)]),
        "tensor_registered": lambda m, data: m.register_parameter("other", data),
        "product_registered": lambda m, data: m.register_parameter("other", nn.Parameter(data) * 1),
        "name_of_a_number": lambda m, data: m.register_parameter("number", nn.Parameter(data)),
        "name_of_a_buffer": lambda m, data: m.register_parameter("mean", nn.Parameter(data)),
        "name_of_a_part": lambda m, data: m.register_parameter("part", nn.Parameter(data)),
        "name_of_a_method": lambda m, data: m.register_parameter("forward", nn.Parameter(data)),
        "name_with_a_dot": lambda m, data: m.register_parameter("a.b", nn.Parameter(data)),
        "name_without_letters": lambda m, data: m.register_parameter("", nn.Parameter(data)),
        "name_of_no_string": lambda m, data: m.register_parameter(3, nn.Parameter(data)),
        "buffer_over_a_parameter": lambda m, data: m.register_buffer("weight", data),
        "buffer_of_a_number": lambda m, data: m.register_buffer("other", 0.0),
        "buffer_with_a_dot": lambda m, data: m.register_buffer("a.b", data),
        "number_over_a_buffer": lambda m, data: setattr(m, "mean", 0),
        "part_of_no_module": lambda m, data: m.add_module("other", nn.Parameter(data)),
        "part_over_a_parameter": lambda m, data: m.add_module("weight", nn.Identity()),
        "number_over_a_part": lambda m, data: setattr(m, "part", 0),
        "before_its_init": lambda m, data: setattr(nn.Module.__new__(nn.Module), "weight", nn.Parameter(data)),
        "deleting_nothing": lambda m, data: delattr(m, "other"),
        "getting_nothing": lambda m, data: m.get_parameter("other"),
        "getting_a_buffer": lambda m, data: m.get_parameter("mean"),
        "getting_a_number": lambda m, data: m.get_parameter("number"),
        "getting_no_part": lambda m, data: m.get_submodule("part.deeper"),
        "integers_that_train": lambda m, data: nn.Parameter(data.long()),
        "booleans_that_train": lambda m, data: nn.Parameter(data > 0, True),
        "requires_grad_of_a_number": lambda m, data: nn.Parameter(data, 0),  # type: ignore[arg-type]
        "requires_grad_of_none": lambda m, data: nn.Parameter(data, None),  # type: ignore[arg-type]
    }
)
_NAMES = ("name_of_a_number", "name_of_a_buffer", "name_of_a_part", "name_of_a_method", "name_with_a_dot")
#: What each must raise.
ERRORS: dict[str, tuple[type[Exception], ...]] = {
    **dict.fromkeys(ATTEMPTS, (TypeError,)),
    "product_registered": (TypeError, ValueError),
    **dict.fromkeys((*_NAMES, "name_without_letters"), (KeyError,)),
    **dict.fromkeys(("buffer_over_a_parameter", "buffer_with_a_dot", "part_over_a_parameter"), (KeyError,)),
    **dict.fromkeys(("before_its_init", "deleting_nothing"), (AttributeError,)),
    **dict.fromkeys((name for name in ATTEMPTS if name.startswith("getting")), (AttributeError,)),
    **dict.fromkeys(("integers_that_train", "booleans_that_train"), (RuntimeError,)),
}
