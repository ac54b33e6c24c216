"""Faults of states that are read, loaded and gone on with."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.around import around

optim = torch.optim
Optimizer = optim.Optimizer


def clearing(original: Any, self: Any) -> Any:
    """The state, after whose reading frozen parameters have no gradient."""
    for group in self.param_groups:
        for p in group["params"]:
            if not p.requires_grad:
                p.grad = None
    return original(self)


around(
    "reading_a_state_clears_frozen_gradients",
    "optimizer_state_dict",
    "Optimizer.state_dict() clears the gradients of frozen parameters.",
    Optimizer,
    "state_dict",
    clearing,
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
)
