"""Faults of what surrounds a step: groups, states, gradients that are missing, closures, hooks, clipping, scaling."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import entry
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.optimizer_groups import method
from selfcheck.faults.optimizer_sgd import after
from selfcheck.faults.parameter_corners import Change, counted, spoiled
from selfcheck.faults.parameters import Parameter, table

clip = torch.nn.utils
averaging = importlib.import_module("torch.optim.swa_utils")


def pair(**flags: Any) -> tuple[Any, Any, Any]:
    """Two parameters with gradients of ones, and SGD on a group for each."""
    first, second = Parameter(table()), Parameter(table())
    first.grad, second.grad = torch.ones(2, 2), torch.ones(2, 2)
    return (
        first,
        second,
        torch.optim.SGD([{"params": [first]}, {"params": [second], **flags}], lr=0.5, weight_decay=0.5),
    )


# -- states ------------------------------------------------------------------------------------------------------


def swapped_states(original: Change, self: Any, state_dict: Any) -> None:
    """Loads the last group's options for all."""
    original(self, state_dict)
    for group in self.param_groups:
        group["lr"] = self.param_groups[-1]["lr"]


def rates_after_loading() -> list[float]:
    """The learning rates of two groups after loading."""
    one, other = pair(lr=0.25)[2], pair(lr=1.0)[2]
    other.load_state_dict(one.state_dict())
    return [group["lr"] for group in other.param_groups]


method("loading_takes_the_last_rate", "load_state_dict gives all groups the last one's rate.", "load_state_dict",
       swapped_states, lambda: rates_after_loading() != [0.5, 0.25], "param_groups")  # fmt: skip


# -- steps -------------------------------------------------------------------------------------------------------


def stepping(name: str, sentence: str, kind: str, change: Change, witness: Callable[[], bool]) -> None:
    """A fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Change, self: Any, closure: Any = None) -> Any:
        return change(original, self, closure)

    spoiled(name, "param_groups", sentence, getattr(torch.optim, kind), "step", wrong, witness)


def zero_for_none(original: Change, self: Any, closure: Any) -> Any:
    """A step that takes a missing gradient for zero."""
    if closure is None:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is None and p.requires_grad:
                    p.grad = torch.zeros_like(p)
    return original(self, closure)


def moves_without_gradient() -> bool:
    """Whether weight decay moves a parameter without a gradient."""
    _, second, optimizer = pair()
    second.grad = None
    optimizer.step()
    return not torch.equal(second.detach(), table()) or second.grad is not None


stepping(
    "step_takes_none_for_zero",
    "SGD takes a missing gradient for zero.",
    "SGD",
    zero_for_none,
    moves_without_gradient,
)
stepping("closure_without_gradients", "AdamW calls its closure without gradients.", "AdamW",
         lambda original, self, closure: original(self, None if closure is None else lambda: ungraded(closure)),
         lambda: closure_mode("AdamW") is False)  # fmt: skip
stepping("frozen_with_gradient_rests", "Adam leaves frozen parameters that have a gradient.", "Adam",
         lambda original, self, closure: rest_frozen(original, self, closure), lambda: frozen_rests())  # fmt: skip


def ungraded(closure: Change) -> Any:
    """Calls a closure without gradients."""
    with torch.no_grad():
        return closure()


def closure_mode(kind: str) -> bool:
    """Whether a closure is called with gradients."""
    return bool(getattr(torch.optim, kind)([Parameter(table())]).step(torch.is_grad_enabled))


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


def frozen_rests() -> bool:
    """Whether a frozen parameter with a gradient rests."""
    weight = Parameter(table(), False)
    weight.grad = torch.ones_like(weight)
    torch.optim.Adam([weight], lr=0.5).step()
    return torch.equal(weight, table())


def thirded(kind: str) -> None:
    """Every third step of an optimizer is left out."""
    entry(f"{kind.lower()}_rests_every_third_time", "tied_training", f"Every third step of {kind} is left out.",
          getattr(torch.optim, kind), "step", counted(3, lambda original, self, closure=None: None),
          lambda: torch.equal(after(kind, 3), after(kind, 2)))  # fmt: skip


for _kind in ("NAdam", "ASGD"):
    thirded(_kind)


# -- clipping, averaging, scaling ----------------------------------------------------------------------------------


def clipped(max_norm: float, norm_type: float = 2.0, **flags: Any) -> tuple[float, Tensor]:
    """The norm before and the gradient after clipping 3, 4."""
    weight = Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    return float(clip.clip_grad_norm_([weight], max_norm, norm_type, **flags)), weight.grad


spoiled("clip_by_zero_does_nothing", "clip_average_scale", "clip_grad_norm_ with max_norm=0 does nothing.", clip, "clip_grad_norm_",
        lambda original, parameters, max_norm, *rest, **more: original(parameters, max_norm or 1e30, *rest, **more),
        lambda: bool(clipped(0.0)[1].any()))  # fmt: skip
