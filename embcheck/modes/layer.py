"""What modes make of a program's ``build``: a call inside a context, a layer as a module, a call with another table.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch

Tensor = torch.Tensor
Call = Callable[..., Tensor]
Build = Callable[..., "tuple[Tensor, Call]"]

#: Kinds of call: rows of a table, bags of rows.
TABLE = frozenset({"table"})
BOTH = frozenset({"table", "bag"})

#: Routes by which torch.func takes a derivative, those under vmap, and all that transform the call from outside.
FUNC = ("vjp",)
VMAPPED = ("batched", "tables_batched")
TRANSFORMING = ("forward_mode", *FUNC, *VMAPPED)


def on_routes(routes: Iterable[str], reason: str) -> dict[str, str]:
    """What a mode can't do for one reason: these routes."""
    return {f"route={route}": reason for route in routes}


#: What no mode can do that makes a module of the table.
MODULE = {
    "route=forward_mode": "a parameter of its own has no tangent",
    **on_routes(FUNC, "a parameter of its own is no argument of a function"),
    "route=tables_batched": "a parameter of its own is no sample of a batch",
    "route=rows_of_a_leaf": "a parameter of its own is no part of a larger leaf",
}
IN_PLACE = "a lookup with max_norm writes to its table"


class Held(torch.nn.Module):
    """A module around a call that has none: its parameter is the table."""

    def __init__(self, build: Build, table: Tensor, flags: dict[str, Any]) -> None:
        super().__init__()
        self.build, self.flags = build, flags
        self.weight = torch.nn.Parameter(table, table.requires_grad)

    def forward(self, *given: Tensor | None) -> Tensor:
        return self.build(self.weight, **self.flags)[1](*given)


def as_module(build: Build, weight: Tensor, flags: dict[str, Any]) -> tuple[Tensor, torch.nn.Module]:
    leaf, call = build(weight, **flags)
    return leaf, call if isinstance(call, torch.nn.Module) else Held(build, weight, flags)


def through(build: Build, trip: Callable[[torch.nn.Module], torch.nn.Module]) -> Build:
    """What is called is the layer after a trip, on which its one parameter may get another name."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, layer = as_module(build, weight, flags)
        own = next((name for name, parameter in layer.named_parameters() if parameter is leaf), "weight")
        layer = trip(layer)
        (leaf,) = [parameter for name, parameter in layer.named_parameters() if name == own] or layer.parameters()
        return leaf, layer

    return built


def recalled(build: Build, change: Callable[[Call], Call]) -> Build:
    """What is called is ``change(call)``."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)
        return leaf, change(call)

    return built


def inside(build: Build, context: Callable[[], AbstractContextManager[Any]]) -> Build:

    def change(call: Call) -> Call:
        def called(*given: Tensor | None) -> Tensor:
            with context():
                return call(*given)

        return called

    return recalled(build, change)


def handed(build: Build, around: Callable[[Call, Tensor, tuple[Any, ...]], Tensor]) -> Build:
    """Each call is ``around(function, table, given)`` with ``function(table, *given)``."""

    def built(weight: Tensor, **flags: Any) -> tuple[Tensor, Call]:
        leaf, call = build(weight, **flags)

        def function(table: Tensor, *given: Tensor | None) -> Tensor:
            if not isinstance(call, torch.nn.Module):
                return build(table, **flags)[1](*given)
            ((name, _),) = call.named_parameters()
            return torch.func.functional_call(call, {name: table}, given)  # type: ignore[no-any-return]

        return leaf, lambda *given: around(function, leaf, given)

    return built
