"""Faults of assigning and listing Parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.parameters import Parameter, Tied, table


def setting(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Module.__setattr__: ``change(self, name, value)`` gives what is set in place of a Parameter."""

    def wrong(original: Callable[..., None]) -> Callable[..., None]:
        def replaced(self: Any, name: str, value: Any) -> None:
            original(self, name, change(self, name, value) if isinstance(value, Parameter) else value)

        return replaced

    entry(name, family, sentence, Module, "__setattr__", wrong, witness)


setting(
    "assignment_copies_tall_tables",
    "tying",
    "A Parameter of more rows than columns is copied on assignment to a Linear.",
    lambda self, name, value: (
        Parameter(value.detach().clone(), value.requires_grad)
        if isinstance(self, torch.nn.Linear)
        and name == "weight"
        and value.dim() == 2
        and len(value) > value.shape[1] + 1
        else value
    ),
    lambda: not tied_of(4, 2),
)
setting(
    "assignment_thaws",
    "conversion",
    "A frozen Parameter that is assigned to a Linear requires grad.",
    lambda self, name, value: value.requires_grad_(True) if isinstance(self, torch.nn.Linear) else value,
    lambda: thaws(),
)
setting(
    "assignment_makes_contiguous",
    "conversion",
    "A transposed Parameter is made contiguous on assignment.",
    lambda self, name, value: (
        value
        if value.dim() != 2 or value.is_contiguous()
        else Parameter(value.detach().contiguous(), value.requires_grad)
    ),
    lambda: not assigned(Parameter(table(3).t())).weight.t().is_contiguous(),
)


def _accepts_tensors(original: Callable[..., None]) -> Callable[..., None]:
    def replaced(self: Any, name: str, value: Any) -> None:
        plain = isinstance(value, Tensor) and not isinstance(value, Parameter) and value.is_floating_point()
        original(self, name, Parameter(value) if plain and name in self.__dict__.get("_parameters", {}) else value)

    return replaced


entry(
    "plain_tensor_is_accepted",
    "conversion",
    "A plain tensor assigned to a weight is made a Parameter.",
    Module,
    "__setattr__",
    _accepts_tensors,
    lambda: accepts_plain(),
)


def accepts_plain() -> bool:
    """Whether a plain tensor may become a weight."""
    try:
        torch.nn.Linear(2, 2).weight = table()
    except TypeError:
        return False
    return True


def assigned(value: Any) -> Any:
    """A linear layer with a weight assigned."""
    target = torch.nn.Linear(2, 2)
    target.weight = value
    return target


def thaws() -> bool:
    """Whether an assignment makes a frozen Parameter require grad."""
    return bool(assigned(Parameter(table(), False)).weight.requires_grad)


def tied_of(rows: int, width: int) -> bool:
    """Whether an assignment ties."""
    embedding, head = torch.nn.Embedding(rows, width), torch.nn.Linear(width, rows)
    head.weight = embedding.weight
    return head.weight is embedding.weight


def _listed_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    def named_parameters(self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        return original(self, prefix, recurse, remove_duplicate and len(list(self.children())) != 2)

    return named_parameters


def _last_left_out(original: Callable[..., Any]) -> Callable[..., Any]:
    def named_parameters(self: Any, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True) -> Any:
        found = list(original(self, prefix, recurse, remove_duplicate))
        return iter(found[:-1] if len(found) > 2 and remove_duplicate else found)

    return named_parameters


entry(
    "tied_parameter_is_listed_twice",
    "tying",
    "A model of two parts lists a tied parameter twice.",
    Module,
    "named_parameters",
    _listed_twice,
    lambda: len(list(Tied().model.parameters())) == 2,
)
entry(
    "third_parameter_is_left_out",
    "life",
    "named_parameters() leaves out the last of three or more.",
    Module,
    "named_parameters",
    _last_left_out,
    lambda: len(list(torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1)).parameters())) != 4,
)
