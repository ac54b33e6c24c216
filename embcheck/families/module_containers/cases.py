"""Containers of modules and of Parameters as a case: what a Python list or dict holds after the same operations; no torch."""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input

#: What can be put into a container, each by its name; ``b`` is frozen where it is a Parameter.
POOL = ("a", "b", "c", "d", "e", "f")
#: The keys of a dict, and the places in a tree.
KEYS = ("words", "head", "extra", "b")
PLACES = ("words", "inner.words", "inner.deep.words", "inner.deep.head")
#: What each kind of container can do: Python's names, but "place" (set_submodule).
OPERATIONS: dict[str, tuple[str, ...]] = {
    "Sequential": ("append", "extend", "insert", "set", "del", "cut", "slice", "pop", "add", "iadd", "mul", "imul",
                   "extend_by_itself", "iadd_itself", "add_itself"),
    "ModuleList": ("append", "extend", "insert", "set", "del", "cut", "slice", "pop", "add", "iadd",
                   "extend_by_itself", "iadd_itself", "add_itself"),
    "ParameterList": ("append", "extend", "set", "slice", "iadd", "extend_by_itself", "iadd_itself"),
    "ModuleDict": ("set", "del", "pop", "update", "clear", "update_by_itself"),
    "ParameterDict": ("set", "del", "pop", "update", "clear", "setdefault", "popitem", "or", "ior", "copy",
                      "update_by_itself", "or_itself", "ior_itself"),
    "Module": ("place",),
}  # fmt: skip
#: What asks for something that a container lacks, in a list beyond either end; and what it must raise, as in Python.
LACKING = {
    **dict.fromkeys(("get_beyond", "get_before", "set_beyond", "del_beyond", "pop_beyond"), "IndexError"),
    **dict.fromkeys(("get_missing", "get_attribute", "del_missing", "pop_missing"), "KeyError"),
}
_OF_LISTS = (
    "get_beyond",
    "get_before",
    "set_beyond",
    "append_misfit",
    "extend_by_misfit",
    "extend_by_number",
    "set_misfit",
)
_OF_DICTS = ("get_missing", "get_attribute", "del_missing", "pop_missing", "set_misfit", "set_misfit_anew", "update_by_misfit",
             "set_dotted", "set_reserved", "set_number")  # fmt: skip
#: What each kind must refuse once its operations are done: to give what it lacks, and to take what it can't hold.
ATTEMPTS: dict[str, tuple[str, ...]] = {
    "Sequential": (*_OF_LISTS, "del_beyond", "pop_beyond", "insert_misfit"),
    "ModuleList": (*_OF_LISTS, "del_beyond", "pop_beyond", "insert_misfit"),
    "ParameterList": _OF_LISTS,
    "ModuleDict": _OF_DICTS,
    "ParameterDict": (*_OF_DICTS, "setdefault_misfit", "ior_misfit"),
    "Module": (),
}
#: An operation: its name, and three numbers that each takes as it needs them.
Operation = tuple[str, int, int, int]


class _ContainerAxes(NamedTuple):
    """The axes, simplest value first."""

    kind: str = "Sequential"
    #: how many there are at first
    length: int = 3
    operations: tuple[Operation, ...] = ()
    evaluating: bool = False
    #: what is tried at last, which must be refused
    attempt: str = ""
    seed: int = 0


class ContainerCase(Axes, _ContainerAxes):  # type: ignore[misc]
    """A container, and what is done to it."""

    @property
    def listing(self) -> bool:
        """Whether its keys are 0, 1, 2, …"""
        return self.kind in ("Sequential", "ModuleList", "ParameterList")

    @property
    def of_parameters(self) -> bool:
        """Whether it holds Parameters, not modules."""
        return self.kind.startswith("Parameter")

    @property
    def start(self) -> dict[str, str]:
        """What it holds at first, by key; in a tree there is something everywhere."""
        if self.kind == "Module":
            return dict(zip(PLACES, POOL, strict=False))
        keys = map(str, range(self.length)) if self.listing else iter(KEYS)
        return dict(zip(keys, POOL[: self.length], strict=False))

    def inputs(self) -> dict[str, Input]:
        """A table of which all are made."""
        return {"table": Input(np.arange(1.0, 7.0).reshape(3, 2), "float64")}

    @cached_property
    def history(self) -> list[dict[str, str]]:
        """What the container holds at first and after each operation."""
        found = [self.start]
        for operation in self.operations:
            held = found[-1]
            if self.listing:
                found.append({str(k): name for k, name in enumerate(_listed(list(held.values()), operation))})
            else:
                found.append(_keyed(dict(held), operation, PLACES if self.kind == "Module" else KEYS))
        return found

    @property
    def lacked(self) -> str:
        """A key that a dict lacks at last, one that it had before if there is such a one."""
        before = [key for held in self.history for key in held]
        return next((key for key in (*before, *KEYS) if key not in self.history[-1]), "nowhere")

    @property
    def doubled(self) -> bool:
        """Whether modules are added to a list in which they are."""
        return self.kind in ("Sequential", "ModuleList") and any(
            bool(held) and name in ("extend_by_itself", "iadd_itself")
            for held, (name, *_) in zip(self.history, self.operations, strict=False)
        )

    @cached_property
    def gaps(self) -> tuple[bool, bool]:
        """Whether a Sequential, whose slices keep the names of their places, has gaps in them, and grew while it had."""
        gapped = found = grown = False
        for held, operation in zip(self.history, self.operations, strict=False):
            name = operation[0]
            if self.kind != "Sequential":
                break
            if name == "slice":
                at = span(operation, len(held))
                gapped |= len(range(*at.indices(len(held)))) > 0 and (at.start > 0 or at.step == 2)
            elif name in ("add", "mul", "cut", "del", "pop", "add_itself"):
                gapped = False
            found |= gapped
            grown |= gapped and name in ("append", "extend", "insert", "iadd", "imul")
        return found, grown

    def facts(self) -> dict[str, Any]:
        """The axes and: repeated (something is held twice), emptied, gapped and grown_slice (see ``gaps``),
        inserted_from_the_end (before a place counted so), doubled (see there), lacking (the attempt asks for what is not
        there), and each operation's name."""
        done = {name for name, *_ in self.operations}
        return {
            **{name: value for name, value in self.axes.items() if name != "operations"},
            "repeated": any(len(set(held.values())) < len(held) for held in self.history),
            "gapped": self.gaps[0],
            "grown_slice": self.gaps[1],
            "inserted_from_the_end": any(
                name == "insert" and gap(i, len(held)) < 0
                for held, (name, i, _, _) in zip(self.history, self.operations, strict=False)
            ),
            "doubled": self.doubled,
            "lacking": self.attempt in LACKING,
            "emptied": any(not held for held in self.history),
            **{name: name in done for names in OPERATIONS.values() for name in names},
        }


def _listed(held: list[str], operation: Operation) -> list[str]:
    """A list after an operation, whose numbers are taken modulo what there is; nothing happens to an empty one."""
    name, i, j, k = operation
    first, second = POOL[j % len(POOL)], POOL[k % len(POOL)]
    at = span(operation, len(held))
    match name:
        case "append":
            return [*held, first]
        case "extend" | "add" | "iadd":
            return [*held, first, second]
        case "insert":
            held.insert(gap(i, len(held)), first)
        case "mul" | "imul":
            return held * (1 + i % 2)
        case "extend_by_itself" | "iadd_itself" | "add_itself":
            return held * 2
        case "slice":
            return held[at]
        case "cut":
            del held[at]
        case "set" if held:
            held[place(i, len(held))] = first
        case "del" | "pop" if held:
            del held[place(i, len(held))]
    return held


def place(i: int, length: int) -> int:
    """A place in a list, counted from either end."""
    return i % (2 * length) - length


def gap(i: int, length: int) -> int:
    """A place in a list where something is inserted: behind the last, or before one, counted from either end."""
    at = i % (2 * length + 1)
    return at if at <= length else at - 2 * length - 1


def span(operation: Operation, length: int) -> slice:
    """A slice; of "cut" one without a step."""
    name, i, j, k = operation
    first, last = sorted((i % (length + 1), j % (length + 1)))
    return slice(first, last, None if name == "cut" or k % 2 == 0 else 2)


def _keyed(held: dict[str, str], operation: Operation, keys: tuple[str, ...]) -> dict[str, str]:
    """A dict after an operation; nothing happens for a key that it lacks."""
    name, i, j, k = operation
    key, other = keys[i % len(keys)], keys[(i + 1) % len(keys)]
    first, second = POOL[j % len(POOL)], POOL[k % len(POOL)]
    match name:
        case "set" | "place":
            held[key] = first
        case "del" | "pop":
            held.pop(key, None)
        case "update" | "or" | "ior":
            held |= {key: first, other: second}
        case "clear":
            held.clear()
        case "setdefault":
            held.setdefault(key, first)
        case "popitem" if held:
            held.popitem()
    return held
