"""Faults of clearing gradients, of groups and states, and of clipping."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.fault import Witness
from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.optimizer_sgd import Optimizer


def method(
    name: str, sentence: str, attribute: str, wrong: Callable[..., Any], witness: Witness, family: str = "tied_training"
) -> None:
    """A fault of a method of every optimizer: ``wrong(original, self, *args, **kwargs)``."""
    entry(
        name,
        family,
        sentence,
        Optimizer,
        attribute,
        lambda original: lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs),
        witness,
    )


method(
    "load_keeps_the_rate",
    "load_state_dict keeps the learning rate that is set.",
    "load_state_dict",
    lambda original, self, state: keep_rate(original, self, state),
    lambda: reloaded_rate() != 0.25,
)


method(
    "load_widens_state",
    "load_state_dict makes the state of bfloat16 parameters float32.",
    "load_state_dict",
    lambda original, self, state: (original(self, state), widened(self))[0],
    lambda: widens(),
)


def widened(self: Any) -> Any:
    """Makes the state tensors of an optimizer float32."""
    for state in self.state.values():
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dtype == torch.bfloat16:
                state[name] = value.float()
    return self


def widens() -> bool:
    """Whether loading changes a state's dtype."""
    weight = torch.nn.Parameter(torch.ones(1).bfloat16())
    weight.grad = torch.ones(1).bfloat16()
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    optimizer.step()
    optimizer.load_state_dict(optimizer.state_dict())
    return bool(optimizer.state[weight]["momentum_buffer"].dtype != torch.bfloat16)


def reloaded() -> Any:
    """An SGD that was given another's state, with a momentum of one and a rate of 1/4."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    first = torch.optim.SGD([weight], lr=0.25, momentum=0.5)
    first.step()
    second = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    second.load_state_dict(first.state_dict())
    return second


def reloaded_rate() -> float:
    """The learning rate that arrives."""
    return float(reloaded().param_groups[0]["lr"])


def keep_rate(original: Callable[..., Any], self: Any, state: Any) -> None:
    """load_state_dict that keeps the rates."""
    rates = [group["lr"] for group in self.param_groups]
    original(self, state)
    for group, rate in zip(self.param_groups, rates, strict=True):
        group["lr"] = rate
