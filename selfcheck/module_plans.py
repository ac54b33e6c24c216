"""What a fault does to the module of a call in Python, or to the dictionary that it returns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from selfcheck.site import Call, Site
from selfcheck.tensor_plans import Pairs, Plan, Planner, as_returned, pairs_of, parameter_of

Names = list[tuple[nn.Module, str, nn.Parameter]]


def of_module(choose: Callable[[nn.Module, Names, Call], Plan | None]) -> Planner:
    """What is done to the module of a call, which is told with every name of a Parameter and who has it."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        module = site.module(call.given, result)
        if module is None or "_parameters" not in vars(module):
            return None
        parts = [(part, part._parameters) for part in module.modules()]
        names = [(part, name, each) for part, held in parts for name, each in held.items() if each is not None]
        done = choose(module, names, call)
        return None if done is None else lambda: (done(), result)[1]

    return planned


def _renamed(names: Names, made: nn.Parameter) -> Plan:
    """Names that stand for another Parameter."""
    return lambda: [part._parameters.update({name: made}) for part, name, _ in names]


def untie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    again = [each for k, each in enumerate(names) if any(other[2] is each[2] for other in names[:k])]
    return _renamed(again[-1:], parameter_of(again[-1][2], again[-1][2].detach().clone())) if again else None


def tie(module: nn.Module, names: Names, call: Call) -> Plan | None:
    for k, (*_, each) in enumerate(names):
        for *_, other in names[:k]:
            if other is not each and (other.shape, other.dtype) == (each.shape, each.dtype):
                return _renamed([names[k]], other)
    return None


def replace(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """Every name of the last Parameter has another object with the same values."""
    last = [each for each in names if each[2] is names[-1][2]]
    return _renamed(last, parameter_of(last[0][2], last[0][2].detach().clone())) if last else None


def freeze(module: nn.Module, names: Names, call: Call) -> Plan | None:
    last = names[-1][2] if names else None
    return None if last is None or not last.is_leaf else lambda: last.requires_grad_(not last.requires_grad)


def without_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    having = [each for *_, each in names if each.grad is not None]
    return (lambda: object.__setattr__(having[-1], "grad", None)) if having else None


def with_gradient(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last gradient that is another now stays what it was."""
    for each, grad in reversed(call.before["grads"]):
        if grad is not None and (each.grad is None or bool((each.grad.to_dense() != grad.to_dense()).any())):
            kept = (each, grad)
            return lambda: object.__setattr__(kept[0], "grad", kept[1])
    return None


def other_mode(module: nn.Module, names: Names, call: Call) -> Plan | None:
    *_, last = module.modules()
    return lambda: vars(last).update(training=not last.training)


def without(attribute: str) -> Callable[[nn.Module, Names, Call], Plan | None]:
    """The first part that has an attribute has None instead."""

    def choose(module: nn.Module, names: Names, call: Call) -> Plan | None:
        having = [part for part in module.modules() if vars(part).get(attribute) is not None]
        return (lambda: vars(having[0]).update({attribute: None})) if having else None

    return choose


def share(module: nn.Module, names: Names, call: Call) -> Plan | None:
    """The last Parameter of a copy lies in the original's memory."""
    original = next((each for each in call.given.values() if isinstance(each, nn.Module) and each is not module), None)
    theirs = [] if original is None else list(original.parameters())
    if not theirs or not names or theirs[-1].shape != names[-1][2].shape:
        return None
    return _renamed(names[-1:], parameter_of(names[-1][2], theirs[-1].data))


def of_mapping(least: int, change: Callable[[Pairs], Pairs | None]) -> Planner:
    """The pairs that are returned, changed, if there are enough."""

    def planned(site: Site, call: Call, result: Any) -> Plan | None:
        pairs = pairs_of(result)
        changed = change(pairs) if len(pairs) >= least else None
        return None if changed is None else lambda: as_returned(result, changed)

    return planned


def swapped(pairs: Pairs) -> Pairs | None:
    (one, first), *between, (other, last) = pairs
    return None if first is last else [(one, last), *between, (other, first)]


def cloned(pairs: Pairs) -> Pairs | None:
    tensors = [k for k, (_, value) in enumerate(pairs) if isinstance(value, torch.Tensor)]
    cloned = [(name, value.detach().clone() if k in tensors[-1:] else value) for k, (name, value) in enumerate(pairs)]
    return cloned if tensors else None


def forgotten(site: Site, call: Call, result: Any) -> Plan | None:
    """What an optimizer keeps of its last Parameter is lost."""
    kept = call.given["self"].state
    return (lambda: (kept.pop(list(kept)[-1]), result)[1]) if kept else None
