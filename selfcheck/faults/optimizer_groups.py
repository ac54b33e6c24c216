"""Faults of clearing gradients, of groups and states, and of clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from selfcheck.faults.entry import entry
from selfcheck.faults.optimizer_sgd import Optimizer


def method(name: str, sentence: str, attribute: str, wrong: Callable[..., Any], family: str = "tied_training") -> None:
    """A fault of a method of every optimizer: ``wrong(original, self, *args, **kwargs)``."""
    entry(
        name,
        family,
        sentence,
        Optimizer,
        attribute,
        lambda original: lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs),
    )


method(
    "load_keeps_the_rate",
    "load_state_dict keeps the learning rate that is set.",
    "load_state_dict",
    lambda original, self, state: keep_rate(original, self, state),
)


def keep_rate(original: Callable[..., Any], self: Any, state: Any) -> None:
    """load_state_dict that keeps the rates."""
    rates = [group["lr"] for group in self.param_groups]
    original(self, state)
    for group, rate in zip(self.param_groups, rates, strict=True):
        group["lr"] = rate
