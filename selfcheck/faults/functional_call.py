"""Faults of what functional_call puts in, sees and puts back."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from selfcheck.faults.around import around
from selfcheck.faults.kernels import Tensor

func = torch.func
stateless: Any = importlib.import_module("torch.nn.utils.stateless")


def thrice() -> Any:
    """Three linear layers with one weight."""
    model: Any = torch.nn.Sequential(*(torch.nn.Linear(2, 2, bias=False) for _ in range(3)))
    torch.nn.init.ones_(model[0].weight)
    model[1].weight = model[2].weight = model[0].weight
    return model


def normed() -> Any:
    """A linear layer, and a normalisation of a batch with its buffers."""
    return torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))


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
    lambda: func.functional_call(thrice(), {"1.weight": torch.eye(2)}, (torch.ones(1, 2),)),
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


def buffer_after_error() -> Tensor:
    """A buffer after a call whose forward raised."""
    model = normed()

    def failing(*given: Any) -> Any:
        raise LookupError

    model.forward = failing
    try:
        func.functional_call(model, {"1.running_mean": torch.ones(2)}, (torch.ones(2, 2),))
    except LookupError:
        return model[1].running_mean  # type: ignore[no-any-return]
    raise AssertionError("forward did not raise")


around(
    "calls_that_raise_keep_buffers",
    "functional_call",
    "functional_call leaves the buffers that it was given in submodules if forward raises.",
    func,
    "functional_call",
    kept_after_error,
    buffer_after_error,
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


def conflict() -> Tensor:
    """A call with two tensors for one weight."""
    given = {"0.weight": torch.eye(2), "1.weight": torch.zeros(2, 2), "2.weight": torch.eye(2)}
    found: Tensor = func.functional_call(thrice(), given, (torch.ones(1, 2),))
    return found


around(
    "calls_take_the_last_of_two",
    "functional_call",
    "functional_call takes the last of the tensors that are given for tied names, instead of refusing them.",
    stateless,
    "_untie_named_tensors_map",
    last_one_wins,
    conflict,
)
