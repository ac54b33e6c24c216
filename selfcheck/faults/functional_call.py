"""Faults of what functional_call puts in, sees and puts back."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from selfcheck.faults.around import around
from selfcheck.faults.kernels import Tensor

func = torch.func
stateless: Any = importlib.import_module("torch.nn.utils.stateless")


def two_at_most(original: Any, model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that are tied to given ones, but for the last of three."""
    found: dict[str, Tensor] = original(model, given)
    names = dict(model.named_parameters(remove_duplicate=False))
    for name in given:
        tied = [other for other in names if names[other] is names.get(name) and other not in given]
        if len(tied) > 1:
            found.pop(tied[-1], None)
    return found


around(
    "calls_replace_two_names_of_three",
    "functional_call",
    "functional_call replaces one further name of a tied weight, and no third.",
    stateless,
    "_untie_named_tensors_map",
    two_at_most,
)


def kept_after_error(original: Any, model: Any, given: Any, *args: Any, **flags: Any) -> Any:
    """The result; but where forward raises, the buffers that were given stay."""
    try:
        return original(model, given, *args, **flags)
    except LookupError:
        buffers = dict(model.named_buffers(remove_duplicate=False))
        for name in given if isinstance(given, dict) else ():
            path, _, leaf = name.rpartition(".")
            if name in buffers and path:
                model.get_submodule(path)._buffers[leaf] = given[name]
        raise


around(
    "calls_that_raise_keep_buffers",
    "functional_call",
    "functional_call leaves the buffers that it was given in submodules if forward raises.",
    func,
    "functional_call",
    kept_after_error,
)


def last_one_wins(original: Any, model: Any, given: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names that are tied to given ones; of two given tensors the last is taken for both."""
    names = {
        **dict(model.named_parameters(remove_duplicate=False)),
        **dict(model.named_buffers(remove_duplicate=False)),
    }
    last = {id(names[name]): value for name, value in given.items() if name in names}
    found: dict[str, Tensor] = original(
        model, {name: last[id(names[name])] if name in names else value for name, value in given.items()}
    )
    return found


around(
    "calls_take_the_last_of_two",
    "functional_call",
    "functional_call takes the last of the tensors that are given for tied names, instead of refusing them.",
    stateless,
    "_untie_named_tensors_map",
    last_one_wins,
)
