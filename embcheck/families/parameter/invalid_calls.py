"""Programs: what a module must not take as a parameter, a buffer or a part.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch module; its attributes are modules, tensors and numbers, which a checker can't tell apart.
Module = Any
Attempt = Callable[[Module, Tensor], Any]

#: What is attempted, and what it must raise.
WRONG: dict[str, tuple[Attempt, tuple[type[Exception], ...]]] = {}


def wrongly(attempt: Callable[[Module, Tensor], Any], data: Tensor) -> dict[str, Any]:
    module: Module = torch.nn.Module()
    module.weight = torch.nn.Parameter(torch.zeros(2))
    module.register_parameter("nothing", None)
    module.register_buffer("mean", torch.zeros(2))
    module.part = torch.nn.Identity()
    module.number = 5
    kept = [dict(module._parameters), dict(module._buffers), dict(module._modules), module.number]
    try:
        attempt(module, data)
    except Exception as error:
        now = [dict(module._parameters), dict(module._buffers), dict(module._modules), module.number]
        same = all(
            list(a) == list(b) and all(a[key] is b[key] for key in a) for a, b in zip(now[:3], kept[:3], strict=True)
        )
        if not same or now[3] != kept[3]:
            raise AssertionError("what was refused changed the module") from error
        raise
    return {}


def _raises(*errors: type[Exception]) -> Callable[[Attempt], Attempt]:
    def register(attempt: Attempt) -> Attempt:
        WRONG[attempt.__name__] = attempt, errors
        return attempt

    return register


@_raises(TypeError)
def tensor_assigned(module: Module, data: Tensor) -> Any:
    module.weight = data


@_raises(TypeError)
def tensor_assigned_to_none(module: Module, data: Tensor) -> Any:
    module.nothing = data


@_raises(TypeError)
def detached_assigned(module: Module, data: Tensor) -> Any:
    module.weight = torch.nn.Parameter(data).detach()


@_raises(TypeError)
def product_assigned(module: Module, data: Tensor) -> Any:
    module.weight = torch.nn.Parameter(data) * 1


@_raises(TypeError)
def number_assigned(module: Module, data: Tensor) -> Any:
    module.weight = 0.0


@_raises(TypeError)
def false_assigned(module: Module, data: Tensor) -> Any:
    module.weight = False


@_raises(TypeError)
def list_assigned(module: Module, data: Tensor) -> Any:
    module.weight = [torch.nn.Parameter(data)]


@_raises(TypeError)
def tensor_registered(module: Module, data: Tensor) -> Any:
    module.register_parameter("other", data)


@_raises(TypeError, ValueError)
def product_registered(module: Module, data: Tensor) -> Any:
    module.register_parameter("other", torch.nn.Parameter(data) * 1)


@_raises(KeyError)
def name_of_a_number(module: Module, data: Tensor) -> Any:
    module.register_parameter("number", torch.nn.Parameter(data))


@_raises(KeyError)
def name_of_a_buffer(module: Module, data: Tensor) -> Any:
    module.register_parameter("mean", torch.nn.Parameter(data))


@_raises(KeyError)
def name_of_a_part(module: Module, data: Tensor) -> Any:
    module.register_parameter("part", torch.nn.Parameter(data))


@_raises(KeyError)
def name_of_a_method(module: Module, data: Tensor) -> Any:
    module.register_parameter("forward", torch.nn.Parameter(data))


@_raises(KeyError)
def name_with_a_dot(module: Module, data: Tensor) -> Any:
    module.register_parameter("a.b", torch.nn.Parameter(data))


@_raises(KeyError)
def name_without_letters(module: Module, data: Tensor) -> Any:
    module.register_parameter("", torch.nn.Parameter(data))


@_raises(TypeError)
def name_of_no_string(module: Module, data: Tensor) -> Any:
    module.register_parameter(3, torch.nn.Parameter(data))


@_raises(KeyError)
def buffer_over_a_parameter(module: Module, data: Tensor) -> Any:
    module.register_buffer("weight", data)


@_raises(TypeError)
def buffer_of_a_number(module: Module, data: Tensor) -> Any:
    module.register_buffer("other", 0.0)


@_raises(KeyError)
def buffer_with_a_dot(module: Module, data: Tensor) -> Any:
    module.register_buffer("a.b", data)


@_raises(TypeError)
def number_over_a_buffer(module: Module, data: Tensor) -> Any:
    module.mean = 0


@_raises(TypeError)
def part_of_no_module(module: Module, data: Tensor) -> Any:
    module.add_module("other", torch.nn.Parameter(data))


@_raises(KeyError)
def part_over_a_parameter(module: Module, data: Tensor) -> Any:
    module.add_module("weight", torch.nn.Identity())


@_raises(TypeError)
def number_over_a_part(module: Module, data: Tensor) -> Any:
    module.part = 0


@_raises(AttributeError)
def before_its_init(module: Module, data: Tensor) -> Any:
    torch.nn.Module.__new__(torch.nn.Module).weight = torch.nn.Parameter(data)


@_raises(AttributeError)
def deleting_nothing(module: Module, data: Tensor) -> Any:
    del module.other


@_raises(AttributeError)
def getting_nothing(module: Module, data: Tensor) -> Any:
    module.get_parameter("other")


@_raises(AttributeError)
def getting_a_buffer(module: Module, data: Tensor) -> Any:
    module.get_parameter("mean")


@_raises(AttributeError)
def getting_a_number(module: Module, data: Tensor) -> Any:
    module.get_parameter("number")


@_raises(AttributeError)
def getting_no_part(module: Module, data: Tensor) -> Any:
    module.get_submodule("part.deeper")


@_raises(RuntimeError)
def integers_that_train(module: Module, data: Tensor) -> Any:
    torch.nn.Parameter(data.long())


@_raises(RuntimeError)
def booleans_that_train(module: Module, data: Tensor) -> Any:
    torch.nn.Parameter(data > 0, True)


@_raises(TypeError)
def requires_grad_of_a_number(module: Module, data: Tensor) -> Any:
    torch.nn.Parameter(data, 0)  # type: ignore[arg-type]


@_raises(TypeError)
def requires_grad_of_none(module: Module, data: Tensor) -> Any:
    torch.nn.Parameter(data, None)  # type: ignore[arg-type]
