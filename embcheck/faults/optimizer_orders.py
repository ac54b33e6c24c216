"""Faults of an optimizer's groups, states, hooks and rarer kinds."""

from __future__ import annotations

import importlib
import math
from typing import Any

import torch

from embcheck.faults.around import around
from embcheck.faults.optimizer_histories import kernel, steps

optim = torch.optim
Optimizer, Parameter = optim.Optimizer, torch.nn.Parameter


def none_last(original: Any, self: Any) -> Any:
    """A Parameter without a gradient has its zeros at the end."""
    missing = [p for p in self._params if p.grad is None]
    kept = self._params
    try:
        self._params = [p for p in kept if p.grad is not None] + missing
        return original(self)
    finally:
        self._params = kept


def lbfgs_beside_none() -> Any:
    """Two Parameters after a step for which the first had no gradient."""
    first, second = Parameter(torch.zeros(2)), Parameter(torch.zeros(2))
    optimizer = optim.LBFGS([first, second], lr=1, max_iter=1)

    def closure() -> Any:
        optimizer.zero_grad()
        loss = (second * torch.tensor([1.0, 2.0])).sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return first, second


around(
    "lbfgs_shifts_behind_a_missing_gradient",
    "life",
    "In LBFGS what comes behind a Parameter without a gradient moves up.",
    optim.LBFGS,
    "_gather_flat_grad",
    none_last,
    lbfgs_beside_none,
)


def minimizing(original: Any, *given: Any, **flags: Any) -> None:
    """maximize is left out."""
    original(*given, **(flags | {"maximize": False}))


kernel(
    "_adafactor",
    "adafactor_foreach_minimizes",
    "foreach Adafactor minimizes all the same.",
    "_multi_tensor_adafactor",
    minimizing,
    steps("Adafactor", 1.0, foreach=True, maximize=True, lr=0.5) if hasattr(optim, "Adafactor") else lambda: None,
)


def decays_little(original: Any, *given: Any, **flags: Any) -> None:
    """Weight decay is multiplied by the rate once more."""
    original(*given, **(flags | {"weight_decay": flags["weight_decay"] * float(flags["lr"])}))


kernel(
    "_adafactor",
    "adafactor_decays_by_the_rate_squared",
    "Plain Adafactor multiplies weight decay by the rate twice.",
    "_single_tensor_adafactor",
    decays_little,
    steps("Adafactor", 1.0, foreach=False, weight_decay=0.5, lr=0.5) if hasattr(optim, "Adafactor") else lambda: None,
)


def never_taller(original: Any, lr: float, adjust: str | None, shape: Any) -> Any:
    """The ratio is that of width and height."""
    if adjust in (None, "original"):
        return lr * math.sqrt(max(1, shape[1] / shape[0]))
    return original(lr, adjust, shape)


def muon_step() -> Any:
    """A tall matrix after a step of Muon."""
    weight = Parameter(torch.zeros(8, 2))
    weight.grad = torch.eye(8, 2)
    optim.Muon([weight], lr=0.5).step()
    return weight


if hasattr(optim, "Muon"):
    around(
        "muon_adjusts_by_the_other_ratio",
        "tying",
        "Muon takes √(B/A) for √(A/B) in its rate for an A×B matrix.",
        importlib.import_module("torch.optim._muon"),
        "_adjust_lr",
        never_taller,
        muon_step,
    )


def listed(original: Any, self: Any, param_group: Any) -> None:
    """Sets are ordered."""
    if isinstance(param_group.get("params"), set):
        param_group = param_group | {"params": list(param_group["params"])}
    original(self, param_group)


around(
    "sets_of_parameters_are_accepted",
    "company",
    "A group's Parameters may be a set.",
    Optimizer,
    "add_param_group",
    listed,
    lambda: optim.SGD([{"params": {Parameter(torch.ones(1))}}], lr=0.5),
)


def numbered_anew(original: Any, self: Any) -> Any:
    """Each group's Parameters are numbered from zero."""
    found = original(self)
    for group in found["param_groups"][1:]:
        group["params"] = list(range(len(group["params"])))
    return found


def groups_state() -> Any:
    """The numbers of two groups' Parameters."""
    groups = [{"params": [Parameter(torch.ones(1))]} for _ in range(2)]
    return [group["params"] for group in optim.SGD(groups, lr=0.5).state_dict()["param_groups"]]


around(
    "every_group_is_numbered_from_zero",
    "tying",
    "state_dict() of an optimizer numbers the Parameters of each group from zero.",
    Optimizer,
    "state_dict",
    numbered_anew,
    groups_state,
)


def as_given(original: Any, self: Any, state_dict: Any) -> None:
    """What a hook returns is not taken."""
    kept = self._optimizer_load_state_dict_pre_hooks
    for hook in kept.values():
        hook(self, dict(state_dict))
    self._optimizer_load_state_dict_pre_hooks = type(kept)()
    try:
        original(self, state_dict)
    finally:
        self._optimizer_load_state_dict_pre_hooks = kept


def rate_from_hook() -> Any:
    """The rate that a hook for before loading puts into the state."""
    optimizer = optim.SGD([Parameter(torch.ones(1))], lr=0.5)

    def faster(own: Any, state: Any) -> Any:
        return {**state, "param_groups": [{**group, "lr": 2.0} for group in state["param_groups"]]}

    optimizer.register_load_state_dict_pre_hook(faster)
    optimizer.load_state_dict(optimizer.state_dict())
    return optimizer.param_groups[0]["lr"]


around(
    "loading_ignores_what_a_hook_returns",
    "company",
    "What a hook for before an optimizer's loading returns is not loaded.",
    Optimizer,
    "load_state_dict",
    as_given,
    rate_from_hook,
)


def written_through(original: Any, self: Any, state_dict: Any) -> None:
    """What a hook puts into its copy is put into the given state, too."""
    kept = self._optimizer_load_state_dict_pre_hooks

    def put(hook: Any) -> Any:
        def called(own: Any, state: Any) -> Any:
            found = hook(own, state)
            state_dict.update({key: value for key, value in state.items() if key not in state_dict})
            return found

        return called

    self._optimizer_load_state_dict_pre_hooks = type(kept)((key, put(hook)) for key, hook in kept.items())
    try:
        original(self, state_dict)
    finally:
        self._optimizer_load_state_dict_pre_hooks = kept


def keys_after_loading() -> list[str]:
    """The keys of a state that was loaded past a hook that adds one."""
    optimizer = optim.SGD([Parameter(torch.ones(1))], lr=0.5)
    optimizer.register_load_state_dict_pre_hook(lambda own, state: state.update(more=1))
    state = optimizer.state_dict()
    optimizer.load_state_dict(state)
    return list(state)


around(
    "hooks_of_loading_write_to_the_given_state",
    "company",
    "What a hook for before an optimizer's loading adds to its copy of the state is in the caller's afterwards.",
    Optimizer,
    "load_state_dict",
    written_through,
    keys_after_loading,
)


def without_pre_hooks(original: Any, self: Any, closure: Any = None) -> Any:
    """A closure comes without hooks for before."""
    if closure is None:
        return original(self)
    kept = self._optimizer_step_pre_hooks
    self._optimizer_step_pre_hooks = type(kept)()
    try:
        return original(self, closure)
    finally:
        self._optimizer_step_pre_hooks = kept


def pre_hooks() -> int:
    """How often the hook for before a step with a closure is called."""
    weight, calls = Parameter(torch.ones(1)), []
    weight.grad = torch.ones(1)
    optimizer = optim.Adagrad([weight], lr=0.5)
    optimizer.register_step_pre_hook(lambda *given: calls.append(1))
    optimizer.step(lambda: 0.0)
    return len(calls)


around(
    "closures_come_without_pre_hooks",
    "company",
    "A step of Adagrad with a closure leaves out the hooks for before it.",
    optim.Adagrad,
    "step",
    without_pre_hooks,
    pre_hooks,
)
