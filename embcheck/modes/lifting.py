"""Calls as functions of their table, which is what tracers and exporters take.

Nothing but torch is imported by what a counterexample's script shows.
"""

import types
from collections.abc import Callable, Mapping
from typing import Any

import torch

from embcheck.families.lookup.spelling import Build
from embcheck.modes.layer import BOTH, TRANSFORMING, Tensor, on_routes

#: A lookup as a function of its table and of its inputs that are tensors.
Lifted = Callable[..., Tensor]
#: Makes an artefact of a lifted lookup and an example of its arguments.
Maker = Callable[[Lifted, "tuple[Tensor, ...]"], Lifted]

#: Ways to take a derivative that transform the call from outside.
NO_TRANSFORMS = on_routes(TRANSFORMING, "functorch does not look into what is recorded or compiled")


def recorded_on(cases: Any, cannot: Mapping[str, str], **properties: Any) -> dict[str, Any]:
    """The properties of a mode that records, exports or compiles calls: one item, whose cases share signatures."""
    return {"calls": BOTH, "cases": cases, "engines": ("product",), "cannot": cannot, **properties}


def lifted(call: Callable[..., Tensor], leaf: Tensor, inputs: tuple[Tensor | None, ...]) -> Lifted:
    """The call as a function of its table and of those inputs that are tensors.

    In a module the table takes the place of the parameter, in a closure that of the cell.
    """
    given = [position for position, tensor in enumerate(inputs) if tensor is not None]
    count = len(inputs)
    cells = () if isinstance(call, torch.nn.Module) else (call.__closure__ or ())
    inner = [call] if isinstance(call, torch.nn.Module) else [cell.cell_contents for cell in cells]
    holder = torch.nn.Module()
    for position, module in enumerate(inner):
        if isinstance(module, torch.nn.Module):
            holder.add_module(f"module{position}", module)
    names = [name for name, parameter in holder.named_parameters(remove_duplicate=False) if parameter is leaf]
    object.__setattr__(holder, "forward", call)  # not registered as one more module

    def function(table: Tensor, *tensors: Tensor) -> Any:
        arguments = spread(tensors, given, count)
        if names:
            return torch.func.functional_call(holder, dict.fromkeys(names, table), tuple(arguments))
        swapped = tuple(types.CellType(table) if cell.cell_contents is leaf else cell for cell in cells)
        again: Lifted = types.FunctionType(
            call.__code__, call.__globals__, call.__qualname__, call.__defaults__, swapped
        )
        return again(*arguments)

    return function


def spread(tensors: tuple[Tensor, ...], given: list[int], count: int) -> list[Any]:
    """So many arguments: the tensors at the positions at which they were ``given``, and None elsewhere."""
    arguments: list[Any] = [None] * count
    for position, tensor in zip(given, tensors, strict=True):
        arguments[position] = tensor
    return arguments


def through(build: Build, make: Maker, make_module: Callable[..., Lifted] | None = None) -> Build:
    """The layers that ``build`` builds, each call going through an artefact made by ``make`` from another example.

    ``make_module`` is for layers that are modules: their artefact has the layer's parameters.
    """

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Callable[..., Tensor]]:
        leaf, call = build(weight, **flags)

        def again(*inputs: Tensor | None) -> Any:
            tensors = [tensor for tensor in inputs if tensor is not None]
            example = tuple(map(alike, tensors))
            if make_module is not None and isinstance(call, torch.nn.Module):
                return made(make_module, call, example)(*inputs)
            return made(make, lifted(call, leaf, inputs), (alike(leaf), *example))(leaf, *tensors)

        return leaf, again

    return built


def made(make: Callable[..., Any], function: Any, example: tuple[Tensor, ...]) -> Any:
    try:
        return make(function, example)
    except Exception as error:
        raise RuntimeError(f"does not compile: {type(error).__qualname__}: {error}") from error


def alike(tensor: Tensor) -> Tensor:
    """A tensor of the same shape, strides and dtype that holds zeros."""
    other = torch.empty_strided(tensor.size(), tensor.stride(), dtype=tensor.dtype, device=tensor.device).zero_()
    return other.requires_grad_() if tensor.requires_grad else other
