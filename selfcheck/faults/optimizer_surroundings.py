"""Faults of what surrounds a step: groups, states, gradients that are missing, closures, hooks, clipping, scaling."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.optimizer_groups import method
from selfcheck.faults.parameter_corners import Change, counted, spoiled

clip = torch.nn.utils


# -- states ------------------------------------------------------------------------------------------------------


def swapped_states(original: Change, self: Any, state_dict: Any) -> None:
    """Loads the last group's options for all."""
    original(self, state_dict)
    for group in self.param_groups:
        group["lr"] = self.param_groups[-1]["lr"]


method("loading_takes_the_last_rate", "load_state_dict gives all groups the last one's rate.", "load_state_dict",
       swapped_states, "param_groups")  # fmt: skip


# -- steps -------------------------------------------------------------------------------------------------------


def stepping(name: str, sentence: str, kind: str, change: Change) -> None:
    """A fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Change, self: Any, closure: Any = None) -> Any:
        return change(original, self, closure)

    spoiled(name, "param_groups", sentence, getattr(torch.optim, kind), "step", wrong)


stepping("closure_without_gradients", "AdamW calls its closure without gradients.", "AdamW",
         lambda original, self, closure: original(self, None if closure is None else lambda: ungraded(closure)))  # fmt: skip
stepping("frozen_with_gradient_rests", "Adam leaves frozen parameters that have a gradient.", "Adam",
         lambda original, self, closure: rest_frozen(original, self, closure))  # fmt: skip


def ungraded(closure: Change) -> Any:
    """Calls a closure without gradients."""
    with torch.no_grad():
        return closure()


def rest_frozen(original: Change, self: Any, closure: Any) -> Any:
    """A step without the frozen."""
    kept = [
        (p, p.grad)
        for group in self.param_groups
        for p in group["params"]
        if not p.requires_grad and p.grad is not None
    ]
    for p, _ in kept:
        p.grad = None
    result = original(self, closure)
    for p, grad in kept:
        p.grad = grad
    return result


def thirded(kind: str) -> None:
    """Every third step of an optimizer is left out."""
    entry(f"{kind.lower()}_rests_every_third_time", "tied_training", f"Every third step of {kind} is left out.",
          getattr(torch.optim, kind), "step", counted(3, lambda original, self, closure=None: None))  # fmt: skip


for _kind in ("NAdam", "ASGD"):
    thirded(_kind)


# -- clipping, averaging, scaling ----------------------------------------------------------------------------------


spoiled("clip_by_zero_does_nothing", "clip_average_scale", "clip_grad_norm_ with max_norm=0 does nothing.", clip, "clip_grad_norm_",
        lambda original, parameters, max_norm, *rest, **more: original(parameters, max_norm or 1e30, *rest, **more))  # fmt: skip
