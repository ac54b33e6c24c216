"""Programs: what a module shows of its parts, and what becomes of them in a conversion."""

from collections.abc import Callable
from typing import Any

import torch

from embcheck.core.registry import named
from embcheck.families.module_traversal.building import Node, built
from embcheck.families.module_traversal.changes import (
    called_after,
    converted_layers,
    emptied,
    given_gradients,
    gradient_flags,
    keeps,
    loaded,
    modes,
    moved,
    replaced_by_hooks,
    replaces,
)
from embcheck.families.module_traversal.containers import contained
from embcheck.families.module_traversal.hooks import copies_keep_hooks, told_by_hooks
from embcheck.families.module_traversal.uses import (
    Module,
    Tensor,
    averaged,
    called,
    copied,
    dtype_of,
    graded,
    linked,
    negate,
    parametrized,
    pictured,
    shallow,
)
from embcheck.families.param_groups.gradient_layouts import lying_as


def traversed(
    nodes: tuple[Node, ...],
    frozen: tuple[str, ...],
    evaluating: bool,
    prefix: str,
    convert: Callable[[Module], Module],
    swapped: bool,
    grads: str,
    mixed: bool,
    turn: int,
    table: Tensor,
) -> dict[str, Any]:
    kept = list[bool]()

    def start(weight: Tensor = table) -> tuple[Module, dict[str, Any]]:
        model, made = built(nodes, frozen, weight, turn)
        kept.append(keeps(model, lambda: model.train(not evaluating), "training"))
        negate(model)  # as they were given
        if mixed:
            list(model.modules())[-1].training = evaluating
        if grads:
            given_gradients(model, grads == "sparse")
        return model, made

    def start_apart() -> Module:
        return start(lying_as(table).copy_(table))[0]

    model, made = start()
    for name, thing in [*model.named_parameters(recurse=False), *model.named_buffers(recurse=False)]:
        setattr(model, name, thing)
    names = {id(thing): name for name, thing in made.items()}
    seen = listings(model, names, prefix)
    seen |= {"parts": pictured(model), "shallow": shallow(model), "copies": copied(model)}
    seen |= {} if turn % 2 else {"emptied": emptied(start_apart())}
    seen["loads"] = loaded(model, start_apart, turn)
    seen |= {"averaged": averaged(model, turn % 2 == 1, turn), "called": called(model, turn)}
    seen["parametrized"] = parametrized(start()[0], turn % 2 == 1)
    seen["linked"] = linked(start()[0], turn)
    seen["states"] = [state_listing(model, made, prefix, keep_vars) for keep_vars in (False, True)]
    seen |= state_forms(model, made, prefix) | {
        "flags": gradient_flags(model, grads == "sparse", turn),
        "modes": modes(model, evaluating),
    }
    seen |= {"parts_left": pictured(model), **converted(*start(), convert)}
    seen["moved"] = moved(start()[0], turn)
    seen["hooks"], seen["hooked_dtypes"] = called_after(built(nodes, frozen, table, turn)[0], convert, swapped)
    seen |= {"emptied": emptied(start_apart())} if turn % 2 else {}
    seen |= {} if turn else {"copied_hooks": copies_keep_hooks(), **told_by_hooks()}
    seen["traced"], seen["traced_same"] = traced(built(nodes, frozen, table, turn)[0])
    return seen | {"trained": all(kept), "replaced": replaced_by_hooks()}


def listings(model: Module, names: dict[int, str], prefix: str) -> dict[str, Any]:
    """What a module lists of its parts, each by its own name; and that the getters give the same."""

    def listed(pairs: Any) -> list[tuple[str, str]]:
        return [(name, names.get(id(thing), "?")) for name, thing in pairs]

    def plain(things: Any) -> list[str]:
        return [names.get(id(thing), "?") for thing in things]

    def forms(of: Callable[[bool], Any], named_of: Callable[[str, bool, bool], Any]) -> list[list[Any]]:
        """Deep or not: the things, and those under their names once and under all."""
        return [
            [plain(of(deep)), *(listed(named_of(prefix, deep, once)) for once in (True, False))]
            for deep in (True, False)
        ]

    visits: list[list[Any]] = [[], [], [], []]

    def applied(visited: list[Any]) -> bool:
        """Whether apply() gives the module, and leaves its parts and gradients as they were, which are others the next time."""
        for p in model.parameters():
            p.data.neg_()
        before, grads = pictured(model), [p.grad for p in model.parameters()]
        itself = model.apply(visited.append) is model and pictured(model) == before
        return itself and all(p.grad is grad for p, grad in zip(model.parameters(), grads, strict=True))

    parameters = model.named_parameters(remove_duplicate=False)
    buffers = model.named_buffers(remove_duplicate=False)
    return {
        "parameters": forms(model.parameters, model.named_parameters),
        "buffers": forms(model.buffers, model.named_buffers),
        "modules": plain(model.modules()),
        "named_modules_once": listed(model.named_modules(prefix=prefix)),
        "named_modules_all": listed(model.named_modules(prefix=prefix, remove_duplicate=False)),
        "children": plain(model.children()),
        "named_children": listed(model.named_children()),
        **contained(model, names),
        "applied_to_itself": all(map(applied, visits)),
        "applied": [plain(visited) for visited in visits],
        "gets": all(model.get_submodule(name) is module for name, module in model.named_modules())
        and all(model.get_parameter(name) is parameter for name, parameter in parameters)
        and all(model.get_buffer(name) is buffer for name, buffer in buffers),
        "sets": all(replaces(model, name) for name, _ in list(model.named_modules())[1:]),
    }


def state_listing(model: Module, made: dict[str, Any], prefix: str, kept: bool) -> list[Any]:
    """What a state_dict holds: under each name which tensor, whether that itself, and its dtype, shape and strides.

    Before each state_dict the numbers become others.
    """
    negate(model)
    state = model.state_dict(prefix=prefix, keep_vars=kept)
    things = {id(thing) for thing in made.values()}
    return [
        named_by_memory(state, made),
        [(id(value) in things, value.requires_grad) for value in state.values()],
        [(dtype_of(value), tuple(value.shape), value.stride()) for value in state.values()],
    ]


def named_by_memory(state: dict[str, Tensor], made: dict[str, Any]) -> list[tuple[str, str]]:
    """Under each name of a state_dict which tensor, by its memory and shape."""
    places = {(t.data_ptr(), t.shape): name for name, t in reversed(made.items()) if isinstance(t, Tensor)}
    return [(name, places.get((value.data_ptr(), value.shape), "?")) for name, value in state.items()]


def state_forms(model: Module, made: dict[str, Any], prefix: str) -> dict[str, Any]:
    """A state_dict without arguments, and one into a given dict, which has no Parameter."""
    own: dict[str, Any] = {"before": torch.zeros(1)}
    negate(model)
    given = model.state_dict(destination=own, prefix=prefix) is own
    negate(model)
    return {
        "simple": named_by_memory(model.state_dict(), made),
        "destination": given and not any(isinstance(value, torch.nn.Parameter) for value in own.values()),
        "destination_entries": named_by_memory(own, made),
    }


def converted(model: Module, made: dict[str, Any], convert: Callable[[Module], Module]) -> dict[str, Any]:
    """All tensors and gradients after a conversion, which is repeated twice."""
    names = {id(thing): name for name, thing in made.items()}
    itself = convert(model) is model
    kept = [keeps(model, lambda: convert(model)) for _ in range(2)]
    return {
        "converted_itself": itself and all(kept),
        "converted_gradients": graded(model),
        "converted": pictured(model),
        "converted_layers": converted_layers(convert),
        "converted_same": [names.get(id(thing), "?") for thing in model.parameters()],
    }


def traced(model: Module) -> tuple[list[str], bool]:
    """The keys of the state of what torch.fx records of a sum of all tensors, and whether it has the very tensors."""

    class Sum(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, total: Any) -> Any:
            for thing in (*model.parameters(), *model.buffers()):
                total = total + thing
            return total

    root = Sum()
    module = torch.fx.symbolic_trace(root)
    held = [dict(each.named_parameters()) | dict(each.named_buffers()) for each in (root, module)]
    same = all(held[1].get(name) is thing for name, thing in held[0].items())
    return sorted(module.state_dict()), same


CONVERSIONS: dict[str, Callable[[Module], Module]] = named(
    {
        "nothing": lambda model: model,
        "double": lambda model: model.double(),
        "half": lambda model: model.half(),
        "bfloat16": lambda model: model.bfloat16(),
        "to_double": lambda model: model.to(torch.float64),
        "to_single": lambda model: model.to(device=torch.empty(0).device, dtype=torch.float32),
        "type_double": lambda model: model.type(torch.float64),
        "to_like": lambda model: model.to(torch.zeros(1, dtype=torch.bfloat16)),
        "to_half": lambda model: model.to(torch.empty(0).device, torch.float16),
        "single": lambda model: model.float(),
    },
    "as_",
)
