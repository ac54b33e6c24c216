"""Faults of torch.nn.Parameter and of its assignment, each in a corner of a few flags at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from selfcheck.faults.entry import entry
from selfcheck.faults.layers import Module
from selfcheck.faults.parameters import Parameter, parameter

Change = Callable[..., Any]


def spoiled(name: str, family: str, sentence: str, owner: Any, attribute: str, change: Change) -> None:
    """A fault of a function or method: ``change(original, *arguments)`` in its place, known as the original is."""

    def wrong(original: Change) -> Change:
        # An optimizer's step is marked once it calls its hooks: wraps keeps the mark.
        @functools.wraps(original)
        def replaced(*arguments: Any, **more: Any) -> Any:
            return change(original, *arguments, **more)

        return replaced

    entry(name, family, sentence, owner, attribute, wrong)


def counted(period: int, act: Change) -> Callable[[Change], Change]:
    """What makes a fault that acts at each ``period``-th call since it was planted."""

    def wrong(original: Change) -> Change:
        calls = [0]

        @functools.wraps(original)
        def replaced(*arguments: Any, **more: Any) -> Any:
            calls[0] += 1
            return act(original, *arguments, **more) if calls[0] % period == 0 else original(*arguments, **more)

        return replaced

    return wrong


# -- what a Parameter is made of ---------------------------------------------------------------------------------

parameter(
    "parameter_empty_is_frozen",
    "parameter",
    "A Parameter without elements does not require grad.",
    lambda make, data, grad: make(data, grad and data.numel() > 0),
)
entry(
    "third_parameter_is_copied",
    "parameter",
    "Every third Parameter is made of a copy.",
    Parameter,
    "__new__",
    counted(3, lambda original, cls, data=None, grad=True: original(cls, None if data is None else data.clone(), grad)),
)


# -- its assignment ----------------------------------------------------------------------------------------------


def assigning(name: str, sentence: str, change: Change, family: str = "parameter") -> None:
    """A fault of an assignment of a Parameter or None to a parameter's name: ``change(store, self, name, value)``."""

    def wrong(original: Change, self: Any, key: str, value: Any) -> None:
        known = key in self.__dict__.get("_parameters", {})
        if known and (value is None or isinstance(value, Parameter)):
            change(original, self, key, value)
        else:
            original(self, key, value)

    spoiled(name, family, sentence, Module, "__setattr__", wrong)


assigning(
    "assignment_of_none_is_ignored",
    "None assigned to a bias leaves the bias.",
    lambda store, self, name, value: None if value is None and name == "bias" else store(self, name, value),
)
