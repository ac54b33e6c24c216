"""Programs: lists and dicts of modules and of Parameters are edited, as those of Python are."""

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.families.module_traversal.uses import Module


def edited(things: Any, k: int, make: Callable[[Any], Any] = list) -> list[Any]:
    """What a list, or a module that is one, holds by its indices after an edit; ``make`` makes one like it."""
    if k == 0:
        del things[1:3]
    elif k == 1:
        del things[::2]
    elif k == 2:
        things.insert(1, things[-1])
    elif k == 3:
        things.pop(0)
        things += make(things[:2])
    elif k == 4:
        things[0], things[-1] = things[-1], things[0]
    elif k == 5:
        things = things + make(things[1:])
    elif k == 6:
        things.extend(make(things[:2]))
        things.append(things[0])
        things += make(things[-2:])
    elif k == 7:
        del things[-1]
    elif k == 8:
        things = things[::2]
    else:
        things.insert(-1, things[0])
        things = 2 * (things * 2)
        things *= 2
    return [things[place] for place in range(len(things))]


def edited_by_keys(things: Any, more: Any) -> list[Any]:
    """What a dict, or a module that is one, tells of its keys and values before and after edits."""
    found: list[Any] = [list(things), list(things.values())]
    first = things.pop(found[0][0]) if found[0] else more
    things.update({"added": first})
    things["set"] = more
    things.update([("added", more), ("last", first)])
    things.update(type(things)({"last": more}))
    del things["set"]
    found += [list(things.keys()), list(things.values()), len(things), "set" in things, "last" in things]
    things.clear()
    return [*found, list(things.items())]


def joined_by_keys(things: Any, first: Any, more: Any) -> list[Any]:
    """What a dict, or a ParameterDict, tells of its values, copies, defaults and unions, and of itself after them."""
    things["first"] = first
    twin, union = things.copy(), things | {"added": more}
    twin["first"] = more
    got = [things.get("first"), things.get("added"), things.setdefault("first", more), things.setdefault("set", more)]
    got += [*things.copy().popitem(), *copy.deepcopy(things)]
    other, again = things.copy(), type(things)(things)
    other |= {"first": more}
    again.update(things)
    every = things, twin, union, other, again
    return [got, *(value for each in every for value in (list(each), list(each.values())))]


def contained(model: Module, names: dict[int, str]) -> dict[str, Any]:
    """What lists and dicts of a module's children, and of its Parameters, hold after edits, each by its own name."""

    other = torch.nn.Parameter(torch.ones(1))
    known = names | {id(other): "other"}

    def plain(things: Any) -> list[Any]:
        return [known.get(id(thing), thing) for thing in things]

    def by_name(told: list[Any]) -> list[Any]:
        return [plain(each) if isinstance(each, list) else each for each in told]

    children, parameters = dict(model.named_children()), list(model.parameters())
    both = [*children.values(), model, *children.values()]
    mapping = {f"p{k}": parameter for k, parameter in enumerate(parameters)}
    listed, mapped = torch.nn.ParameterList, torch.nn.ParameterDict
    slices: list[Any] = [torch.nn.Sequential(*children.values())[start:] for start in (0, 1)]
    parts = torch.nn.Sequential()
    for name, part in {"first": model, **children}.items():
        parts.add_module(name, part)
    return {
        "sliced": [plain(part.append(model)) for part in slices],
        "sliced_names": [[name, *plain([part])] for name, part in parts[1:].named_children()],
        "edited": [
            [plain(edited(make(both), k, make)) for k in range(edits)]
            for make, edits in ((torch.nn.ModuleList, 9), (lambda some: torch.nn.Sequential(*some), 10))
        ],
        "by_keys": by_name(edited_by_keys(torch.nn.ModuleDict(children), model)),
        "parameters_edited": [plain(edited(listed([*parameters, other, *parameters]), k, listed)) for k in (4, 6, 8)],
        "parameters_by_keys": by_name(edited_by_keys(mapped(mapping.items()), other)),
        "parameters_joined": by_name(joined_by_keys(mapped(mapping.items()), [*parameters, other][0], other)),
    }
