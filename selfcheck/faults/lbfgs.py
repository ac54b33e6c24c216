"""Faults of L-BFGS: of what it remembers, returns, evaluates and searches along a line."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from selfcheck.faults.around import around, numbered
from selfcheck.faults.kernels import Tensor

module: Any = importlib.import_module("torch.optim.lbfgs")
LBFGS = torch.optim.LBFGS


def descended(steps: int = 1, **flags: Any) -> tuple[Tensor, list[float], int]:
    """A parameter after steps down a quadratic function, with what they gave and how often that was evaluated."""
    p = torch.nn.Parameter(numbered())
    optimizer = LBFGS([p], lr=0.5, tolerance_grad=0.0, tolerance_change=0.0, **flags)
    evaluated = 0

    def closure() -> Tensor:
        nonlocal evaluated
        evaluated += 1
        optimizer.zero_grad()
        loss = p.square().sum()
        loss.backward()
        return loss

    losses = [float(optimizer.step(closure)) for _ in range(steps)]
    return p.detach(), losses, evaluated


def turned(original: Any, self: Any, closure: Any) -> Any:
    """A step, after which the curvatures of a full history stand beside other pairs."""
    result = original(self, closure)
    for group in self.param_groups:
        state = self.state[group["params"][0]]
        kept = state.get("ro") or []
        if len(kept) == group["history_size"]:
            state["ro"] = [*kept[:1], *kept[:1], *kept]
    return result


around(
    "full_histories_turn_their_curvatures",
    "lbfgs",
    "L-BFGS gives each pair of a full history the curvature of another.",
    LBFGS,
    "step",
    turned,
    lambda: descended(3, history_size=2, max_iter=3)[0],
)


def last_loss(original: Any, self: Any, closure: Any) -> Any:
    """A step that gives what the closure gave at last."""
    given = []

    def heard() -> Any:
        given.append(closure())
        return given[-1]

    original(self, heard)
    return given[-1]


around(
    "lbfgs_returns_the_last_loss",
    "lbfgs",
    "A step of L-BFGS gives the loss of its last evaluation.",
    LBFGS,
    "step",
    last_loss,
    lambda: descended(max_iter=3)[1],
)


def evaluating_once_more(original: Any, self: Any, closure: Any) -> Any:
    """A step that ends with an evaluation of the closure, as if to see how far it came."""
    result = original(self, closure)
    with torch.enable_grad():
        closure()
    return result


around(
    "lbfgs_evaluates_once_more",
    "lbfgs",
    "L-BFGS evaluates the closure once more than max_eval allows.",
    LBFGS,
    "step",
    evaluating_once_more,
    lambda: descended(max_iter=3)[2],
)


def too_short(original: Any, *given: Any, **flags: Any) -> Any:
    """A search along a line that gives a tenth of the length it found."""
    loss, gradient, length, evaluations = original(*given, **flags)
    return loss, gradient, length / 10, evaluations


around(
    "line_search_gives_a_tenth",
    "lbfgs",
    "The length that the search along a line found is not the one that is taken.",
    module,
    "_strong_wolfe",
    too_short,
    lambda: descended(line_search_fn="strong_wolfe", max_iter=1, max_eval=30)[0],
)


def without_short_histories(original: Any, self: Any, params: Any, *given: Any, **flags: Any) -> None:
    """An L-BFGS that takes no history of one pair."""
    if flags.get("history_size") == 1:
        raise ValueError("history_size has to be more than one")
    original(self, params, *given, **flags)


def short_history() -> str:
    """What an L-BFGS with a history of one pair says."""
    try:
        LBFGS([torch.nn.Parameter(numbered())], history_size=1)
    except ValueError as error:
        return str(error)
    return ""


around(
    "histories_of_one_pair_are_refused",
    "lbfgs",
    "L-BFGS refuses a history of one pair.",
    LBFGS,
    "__init__",
    without_short_histories,
    short_history,
)
