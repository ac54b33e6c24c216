"""Programs: containers of modules and of Parameters are worked on like lists and dicts.

They import nothing but torch, for their source is what a counterexample's script shows.
"""

from __future__ import annotations

import collections
from typing import Any

import torch

Tensor = torch.Tensor
#: A torch container; what it can do depends on its kind, which a checker can't tell.
Container = Any
#: An operation as it is carried out: its name, a key or place or slice or count, and what is put there.
Step = tuple[str, Any, tuple[tuple[Any, str], ...]]


def contained(
    kind: str,
    start: tuple[tuple[Any, str], ...],
    steps: tuple[Step, ...],
    evaluating: bool,
    attempt: str,
    lacked: str,
    table: Tensor,
) -> dict[str, Any]:
    pool: dict[str, Any] = {}
    for name in "abcdef":
        held = table if name == "a" else table.clone()
        if kind.startswith("Parameter"):
            pool[name] = torch.nn.Parameter(held, requires_grad=name != "b")
        else:
            pool[name] = torch.nn.Embedding(table.shape[0], table.shape[1], _weight=held)
    names = {id(thing): name for name, thing in pool.items()}
    there: Container
    if kind == "Module":
        there = torch.nn.Module()
        there.add_module("inner", torch.nn.Module())
        there.inner.add_module("deep", torch.nn.Module())
        for place, name in start:
            above, _, last = place.rpartition(".")
            there.get_submodule(above).add_module(last, pool[name])
    elif kind == "Sequential":
        there = torch.nn.Sequential(*(pool[name] for _, name in start))
    elif kind.endswith("List"):
        there = getattr(torch.nn, kind)(pool[name] for _, name in start)
    else:
        there = getattr(torch.nn, kind)(collections.OrderedDict((key, pool[name]) for key, name in start))
    there.train(not evaluating)
    seen, left = [shown(there, names)], True
    for name, at, given in steps:
        before = there
        there = worked(before, name, at, [(key, pool[each]) for key, each in given])
        left = left and (there is before or shown(before, names) == seen[-1])
        seen.append(shown(there, names))
    told = {"kind": type(there).__name__, "held": [keys for keys, _, _, _ in seen],
            "listed": [each for _, each, _, _ in seen], "state": [keys for _, _, keys, _ in seen],
            "lengths": [length for _, _, _, length in seen], "left": left}  # fmt: skip
    return {**told, **(refused(there, attempt, lacked, pool["e"], names) if attempt else {})}


def refused(there: Container, attempt: str, lacked: str, fit: Any, names: dict[int, str]) -> dict[str, Any]:
    """What an attempt raises, and whether the container is afterwards what it was."""
    before, words = shown(there, names), repr(there)
    raised = ""
    try:
        tried(there, attempt, lacked, fit)
    except Exception as error:
        raised = next(
            (kind.__name__ for kind in (IndexError, KeyError) if isinstance(error, kind)), type(error).__name__
        )
    try:
        stays = shown(there, names) == before and repr(there) == words
    except (AttributeError, TypeError, IndexError, KeyError):
        stays = False  # for it can't even be listed
    return {"raised": raised, "stays": stays}


def tried(there: Container, attempt: str, lacked: str, fit: Any) -> None:
    """Asks for what is not there, or puts something where it can't be: integers are no Parameter, a text no module."""
    misfit = torch.ones(2, dtype=torch.int64) if isinstance(fit, Tensor) else "text"
    match attempt:
        case "get_beyond":
            there[len(there)]
        case "get_before":
            there[-len(there) - 1]
        case "set_beyond":
            there[len(there)] = fit
        case "del_beyond":
            del there[len(there)]
        case "pop_beyond":
            there.pop(len(there))
        case "get_missing":
            there[lacked]
        case "get_attribute":
            there["training"]
        case "del_missing":
            del there[lacked]
        case "pop_missing":
            there.pop(lacked)
        case "append_misfit":
            there.append(misfit)
        case "extend_by_misfit":
            there.extend([misfit])
        case "extend_by_number":
            there.extend(5)
        case "insert_misfit":
            there.insert(0, misfit)
        case "set_misfit":
            there[0 if isinstance(there, (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList))
                  else next(iter(there))] = misfit  # fmt: skip
        case "set_misfit_anew":
            there[lacked] = misfit
        case "update_by_misfit":
            there.update({lacked: misfit})
        case "setdefault_misfit":
            there.setdefault(lacked, misfit)
        case "ior_misfit":
            there |= {lacked: misfit}
        case "set_dotted":
            there["inner.words"] = fit
        case "set_reserved":
            there["keys"] = fit
        case "set_number":
            there[5] = fit


def worked(there: Container, name: str, at: Any, given: list[tuple[Any, Any]]) -> Container:
    """The container after an operation; some make another one."""
    things = [thing for _, thing in given]
    match name:
        case "append":
            there.append(things[0])
        case "extend":
            there.extend(things)
        case "insert":
            there.insert(at, things[0])
        case "add":
            return there + (type(there)(*things) if isinstance(there, torch.nn.Sequential) else type(there)(things))
        case "iadd":
            there += type(there)(*things) if isinstance(there, torch.nn.Sequential) else type(there)(things)
        case "mul":
            return there * at
        case "imul":
            there *= at
        case "slice":
            return there[at]
        case "set":
            there[at] = things[0]
        case "del" | "cut":
            del there[at]
        case "pop":
            there.pop(at)
        case "place":
            if hasattr(there, "set_submodule"):  # since torch 2.5
                there.set_submodule(at, things[0])
            else:
                above, _, last = at.rpartition(".")
                setattr(there.get_submodule(above), last, things[0])
        case "extend_by_itself":
            there.extend(there)
        case "iadd_itself":
            there += there
        case "add_itself":
            return there + there
        case "update_by_itself":
            there.update(there)
        case "or_itself":
            return there | there
        case "ior_itself":
            there |= there
        case "or":
            return there | type(there)(collections.OrderedDict(given))
        case "ior":
            there |= type(there)(collections.OrderedDict(given))
        case "copy":
            return there.copy()
        case "update":
            there.update(collections.OrderedDict(given))  # a ParameterDict sorts what comes in a plain dict
        case "setdefault":
            there.setdefault(at, things[0])
        case _:
            getattr(there, name)()  # clear, popitem
    return there


def shown(there: Container, names: dict[int, str]) -> tuple[list[Any], list[str], list[str], int]:
    """What a container holds by key, the Parameters that it lists, the keys of its state, and its length.

    In a tree, whose order is that of its branches, all is sorted.
    """

    def told(thing: Any) -> str:
        return names.get(id(thing), "?")

    if isinstance(there, (torch.nn.Sequential, torch.nn.ModuleList, torch.nn.ParameterList)):
        held = [(str(k), told(thing)) for k, thing in enumerate(there)]
    elif isinstance(there, (torch.nn.ModuleDict, torch.nn.ParameterDict)):
        held = [(key, told(thing)) for key, thing in there.items()]
        held = held if [key for key, _ in held] == list(there.keys()) == list(there) else [("?", "?")]
    else:
        named = there.named_modules(remove_duplicate=False)
        held = [(key, told(module)) for key, module in named if id(module) in names]
    owners = {id(module.weight): names[id(module)] for module in there.modules() if id(module) in names}
    listed = [owners.get(id(parameter), told(parameter)) for parameter in there.parameters()]
    state = list(there.state_dict())
    if type(there) is torch.nn.Module:
        return sorted(held), sorted(listed), sorted(state), len(held)
    return held, listed, state, len(there)
