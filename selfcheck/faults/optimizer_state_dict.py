"""Faults of states that are read, loaded and gone on with."""

from __future__ import annotations

import copy
from typing import Any

import torch

from selfcheck.faults.around import around, pair

optim = torch.optim
Optimizer = optim.Optimizer


def trained(*skipped: str, tensor_hyperparameters: bool = False, **options: Any) -> tuple[Any, Any]:
    """A tied pair with a bias, one group each, after a step with the gradients of some; what is skipped has none."""
    model = pair(bias=True)
    groups = [{"params": [p], "lr": torch.tensor(rate) if tensor_hyperparameters else rate}
              for p, rate in zip(model.parameters(), (0.5, 0.25), strict=True)]  # fmt: skip
    optimizer = optim.Adam(groups, **options)
    for name, p in model.named_parameters():
        p.grad = None if name in skipped else torch.ones_like(p)
    optimizer.step()
    return model, optimizer


def loaded(optimizer: Any, frozen: bool = False, warm: bool = False, **options: Any) -> tuple[Any, Any]:
    """Another pair whose optimizer loaded a state."""
    model, other = trained(**options) if warm else fresh(**options)
    model.requires_grad_(not frozen)
    other.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return model, other


def fresh(**options: Any) -> tuple[Any, Any]:
    """A tied pair with a bias and an optimizer that has not stepped."""
    model = pair(bias=True)
    return model, optim.Adam([{"params": [p], "lr": 8.0} for p in model.parameters()], **options)


def clearing(original: Any, self: Any) -> Any:
    """The state, after whose reading frozen parameters have no gradient."""
    for group in self.param_groups:
        for p in group["params"]:
            if not p.requires_grad:
                p.grad = None
    return original(self)


def frozen_gradient() -> Any:
    """The gradient of a frozen parameter after its optimizer's state was read."""
    model, optimizer = trained()
    model.requires_grad_(False)
    optimizer.state_dict()
    return [p.grad is None for p in model.parameters()]


around(
    "reading_a_state_clears_frozen_gradients",
    "optimizer_state_dict",
    "Optimizer.state_dict() clears the gradients of frozen parameters.",
    Optimizer,
    "state_dict",
    clearing,
    frozen_gradient,
)


def renumbered(original: Any, self: Any) -> Any:
    """The state, in which only parameters that have one are counted."""
    found = original(self)
    found["state"] = dict(enumerate(found["state"].values()))
    return found


around(
    "states_are_numbered_without_gaps",
    "optimizer_state_dict",
    "Optimizer.state_dict() numbers the states one after the other: a parameter that had no gradient yet takes the next's.",
    Optimizer,
    "state_dict",
    renumbered,
    lambda: sorted(trained("embedding.weight")[1].state_dict()["state"]),
)


def one_count(original: Any, self: Any, state_dict: Any) -> None:
    """A state is loaded; its parameters have one count of steps."""
    original(self, state_dict)
    counts = [s for s in self.state.values() if isinstance(s, dict) and isinstance(s.get("step"), torch.Tensor)]
    for each in counts[1:]:
        if torch.equal(each["step"], counts[0]["step"]):
            each["step"] = counts[0]["step"]


around(
    "loaded_counts_are_one_tensor",
    "optimizer_state_dict",
    "Optimizer.load_state_dict() gives all parameters with one count of steps the same tensor.",
    Optimizer,
    "load_state_dict",
    one_count,
    lambda: len({s["step"].data_ptr() for s in loaded(trained()[1])[1].state.values()}),
)
