"""Faults of assigning and listing Parameters."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.layers import Module
from selfcheck.faults.parameters import Parameter


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
)
