"""Faults of what surrounds a step: groups, states, gradients that are missing, closures, hooks, clipping, scaling."""

from __future__ import annotations

import copy
import importlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.lives import through_pickle
from embcheck.faults.optimizer_groups import method
from embcheck.faults.optimizer_sgd import Optimizer, after
from embcheck.faults.parameter_corners import Change, counted, spoiled
from embcheck.faults.parameters import Parameter, table

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


# -- groups ------------------------------------------------------------------------------------------------------


def falsy_defaults(original: Change, self: Any, param_group: Any) -> None:
    """Groups whose falsy options are the defaults."""
    original(self, param_group)
    for name, default in self.defaults.items():
        if param_group[name] == 0 and type(param_group[name]) is float:
            param_group[name] = default


method("group_without_decay_has_the_default", "A group's weight_decay=0.0 is taken for the default.", "add_param_group",
       falsy_defaults, lambda: pair(weight_decay=0.0)[2].param_groups[1]["weight_decay"] != 0)  # fmt: skip
method("late_group_starts_at_the_defaults", "A group that is added after steps ignores its own options.", "add_param_group",
       lambda original, self, group: original(self, {"params": group["params"]} if self.state else group),
       lambda: late_rate() != 0.25, "company")  # fmt: skip
method("late_group_forgets_states", "Adding a group forgets all states.", "add_param_group",
       lambda original, self, group: (original(self, group), self.state.clear())[0],
       lambda: not late().state)  # fmt: skip


def late() -> Any:
    """SGD with momentum and a group that came after a step."""
    weight = Parameter(table())
    weight.grad = torch.ones_like(weight)
    optimizer = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    optimizer.step()
    optimizer.add_param_group({"params": [Parameter(table())], "lr": 0.25})
    return optimizer


def late_rate() -> float:
    """The learning rate of a late group."""
    return float(late().param_groups[1]["lr"])


def second_group_cleared() -> bool:
    """Whether zero_grad() reaches the second group."""
    _, second, optimizer = pair()
    optimizer.zero_grad()
    return second.grad is None


def first_group(original: Change, self: Any, set_to_none: bool = True) -> None:
    """zero_grad of the first group."""
    groups = self.param_groups
    self.param_groups = groups[:1]
    original(self, set_to_none)
    self.param_groups = groups


method("zero_grad_of_the_first_group", "zero_grad() reaches the first group only.", "zero_grad", first_group,
       lambda: not second_group_cleared())  # fmt: skip


def attached(original: Change, self: Any, set_to_none: bool = True) -> None:
    """zero_grad(False) that replaces the gradients."""
    original(self, set_to_none)
    if not set_to_none:
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None and not p.grad.is_sparse:
                    p.grad = torch.zeros_like(p.grad)


def replaced_zero() -> bool:
    """Whether zero_grad(set_to_none=False) replaces a gradient."""
    first, _, optimizer = pair()
    before = first.grad
    optimizer.zero_grad(set_to_none=False)
    return first.grad is not before


method(
    "zero_grad_replaces",
    "zero_grad(set_to_none=False) makes new gradients.",
    "zero_grad",
    attached,
    replaced_zero,
    "autograd",
)
spoiled("foreach_steps_one_dtype", "company", "foreach steps the parameters of the first dtype only.", Optimizer,
        "_group_tensors_by_device_and_dtype",
        lambda original, lists, with_indices=False: dict(list(original(lists, with_indices).items())[:1]),
        lambda: second_dtype_rests())  # fmt: skip


def second_dtype_rests() -> bool:
    """Whether foreach SGD leaves the second of two dtypes."""
    weights = [Parameter(table()), Parameter(table().double())]
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    torch.optim.SGD(weights, lr=0.5, foreach=True).step()
    return any(torch.equal(weight.detach(), table().to(weight.dtype)) for weight in weights)


# -- states ------------------------------------------------------------------------------------------------------


def without_steps(original: Change, self: Any) -> Any:
    """A state whose counts are of the dtype of half precision parameters."""
    state = original(self)
    for kept in state["state"].values():
        if isinstance(kept, dict) and isinstance(kept.get("step"), torch.Tensor) and len(state["param_groups"]) > 1:
            kept["step"] = torch.zeros_like(kept["step"])
    return state


def restarted(groups: int) -> bool:
    """Whether a state of several groups counts from zero."""
    weights = [Parameter(table()) for _ in range(groups)]
    optimizer = torch.optim.Adam([{"params": [weight]} for weight in weights])
    for weight in weights:
        weight.grad = torch.ones_like(weight)
    optimizer.step()
    return bool(optimizer.state_dict()["state"][0]["step"] == 0)


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


method("state_of_groups_restarts", "state_dict() of several groups has counts of zero.", "state_dict", without_steps,
       lambda: restarted(2))  # fmt: skip
method("loading_takes_the_last_rate", "load_state_dict gives all groups the last one's rate.", "load_state_dict",
       swapped_states, lambda: rates_after_loading() != [0.5, 0.25], "company")  # fmt: skip


def loses_amsgrad(original: Change, self: Any, state_dict: Any) -> None:
    """Loading that forgets the greatest second moment."""
    original(self, state_dict)
    for kept in self.state.values():
        if "max_exp_avg_sq" in kept:
            kept["max_exp_avg_sq"] = torch.zeros_like(kept["max_exp_avg_sq"])


def amsgrad_lost() -> bool:
    """Whether loading forgets amsgrad's state."""
    weight = Parameter(table())
    weight.grad = torch.ones_like(weight)
    one, other = (torch.optim.Adam([weight], amsgrad=True) for _ in range(2))
    one.step()
    other.load_state_dict(copy.deepcopy(one.state_dict()))
    return not other.state[weight]["max_exp_avg_sq"].any()


method(
    "loading_forgets_amsgrad",
    "load_state_dict forgets amsgrad's maximum.",
    "load_state_dict",
    loses_amsgrad,
    amsgrad_lost,
)
method("pickle_forgets_states", "A pickled optimizer has no states.", "__getstate__",
       lambda original, self: original(self) | {"state": {}},
       lambda: not through_pickle(late()).state)  # fmt: skip


# -- steps -------------------------------------------------------------------------------------------------------


def stepping(name: str, sentence: str, kind: str, change: Change, witness: Callable[[], bool]) -> None:
    """A fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Change, self: Any, closure: Any = None) -> Any:
        return change(original, self, closure)

    spoiled(name, "company", sentence, getattr(torch.optim, kind), "step", wrong, witness)


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
stepping("closure_comes_after", "RMSprop calls its closure after the step.", "RMSprop",
         lambda original, self, closure: (original(self, None), closure() if closure is not None else None)[1],
         lambda: closure_order())  # fmt: skip
stepping("closure_is_not_returned", "Adagrad does not return what its closure returned.", "Adagrad",
         lambda original, self, closure: original(self, closure) and None,
         lambda: torch.optim.Adagrad([Parameter(table())]).step(lambda: 3.0) is None)  # fmt: skip
stepping("frozen_with_gradient_rests", "Adam leaves frozen parameters that have a gradient.", "Adam",
         lambda original, self, closure: rest_frozen(original, self, closure), lambda: frozen_rests())  # fmt: skip


def ungraded(closure: Change) -> Any:
    """Calls a closure without gradients."""
    with torch.no_grad():
        return closure()


def closure_mode(kind: str) -> bool:
    """Whether a closure is called with gradients."""
    return bool(getattr(torch.optim, kind)([Parameter(table())]).step(torch.is_grad_enabled))


def closure_order() -> bool:
    """Whether a closure sees the step done."""
    weight = Parameter(table())
    weight.grad = torch.ones_like(weight)
    return not torch.optim.RMSprop([weight], lr=0.5).step(lambda: torch.equal(weight.detach(), table()))


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
    entry(f"{kind.lower()}_rests_every_third_time", "tying", f"Every third step of {kind} is left out.",
          getattr(torch.optim, kind), "step", counted(3, lambda original, self, closure=None: None),
          lambda: torch.equal(after(kind, 3), after(kind, 2)))  # fmt: skip


for _kind in ("NAdam", "ASGD"):
    thirded(_kind)


def hook_calls(kind: str) -> list[str]:
    """In which order the hooks of a step are called."""
    weight = Parameter(table())
    weight.grad = torch.ones_like(weight)
    optimizer = getattr(torch.optim, kind)([weight], lr=0.5)
    calls: list[str] = []
    optimizer.register_step_pre_hook(lambda *given: calls.append("before" if torch.equal(weight, table()) else "late"))
    optimizer.register_step_post_hook(lambda *given: calls.append("early" if torch.equal(weight, table()) else "after"))
    optimizer.step()
    return calls


method("post_hooks_come_before", "A hook for after the step is called before it.", "register_step_post_hook",
       lambda original, self, hook: self.register_step_pre_hook(hook),
       lambda: hook_calls("SGD") != ["before", "after"], "company")  # fmt: skip

# -- clipping, averaging, scaling ----------------------------------------------------------------------------------


def clipped(max_norm: float, norm_type: float = 2.0, **flags: Any) -> tuple[float, Tensor]:
    """The norm before and the gradient after clipping 3, 4."""
    weight = Parameter(torch.zeros(2))
    weight.grad = torch.tensor([3.0, 4.0])
    return float(clip.clip_grad_norm_([weight], max_norm, norm_type, **flags)), weight.grad


spoiled("clip_by_zero_does_nothing", "aftercare", "clip_grad_norm_ with max_norm=0 does nothing.", clip, "clip_grad_norm_",
        lambda original, parameters, max_norm, *rest, **more: original(parameters, max_norm or 1e30, *rest, **more),
        lambda: bool(clipped(0.0)[1].any()))  # fmt: skip
spoiled("clip_by_maximum_is_by_two", "aftercare", "clip_grad_norm_ takes an infinite norm_type for 2.", clip, "clip_grad_norm_",
        lambda original, parameters, max_norm, norm_type=2.0, *rest, **more: original(
            parameters, max_norm, 2.0 if norm_type == float("inf") else norm_type, *rest, **more),
        lambda: clipped(1.0, float("inf"))[0] != 4)  # fmt: skip
spoiled("clip_grows_small_gradients", "aftercare", "clip_grad_norm_ scales small gradients up without foreach.", clip,
        "clip_grad_norm_",
        lambda original, parameters, max_norm, *rest, **more: grown(original, parameters, max_norm, *rest, **more),
        lambda: float(clipped(10.0, foreach=False)[1][0]) != 3)  # fmt: skip
spoiled("clip_value_skips_vectors", "aftercare", "clip_grad_value_ leaves vectors alone.", clip, "clip_grad_value_",
        lambda original, parameters, *rest, **more: [
            original(p, *rest, **more) for p in ([parameters] if isinstance(parameters, Tensor) else parameters) if p.dim() != 1
        ] and None,
        lambda: vector_unclipped())  # fmt: skip


def grown(original: Change, parameters: Any, max_norm: Any, *rest: Any, **more: Any) -> Any:
    """clip_grad_norm_ that scales up."""
    parameters = [parameters] if isinstance(parameters, Tensor) else list(parameters)
    norm = original(parameters, max_norm, *rest, **more)
    if more.get("foreach") is False and 0 < float(norm) < max_norm:
        for p in parameters:
            if p.grad is not None:
                p.grad.mul_(max_norm / norm)
    return norm


def vector_unclipped() -> bool:
    """Whether a vector's gradient stays beyond the value."""
    weight = Parameter(torch.zeros(1))
    weight.grad = torch.full((1,), 3.0)
    clip.clip_grad_value_([weight], 1.0)
    return bool(weight.grad > 1)


def averaged(steps: int) -> float:
    """The average of 1, 3, 5, … after some updates."""
    layer = torch.nn.Linear(1, 1, bias=False)
    model = averaging.AveragedModel(layer)
    for step in range(steps):
        with torch.no_grad():
            layer.weight.fill_(1.0 + 2 * step)
        model.update_parameters(layer)
    return float(model.module.weight)


spoiled("average_forgets_the_first", "aftercare", "AveragedModel's second update replaces the first.", averaging.AveragedModel,
        "update_parameters", lambda original, self, model: forgetful(original, self, model), lambda: averaged(2) != 2)  # fmt: skip


def forgetful(original: Change, self: Any, model: Any) -> None:
    """An update that counts as the first when it is the second."""
    if int(self.n_averaged) == 1:
        self.n_averaged.zero_()
        original(self, model)
        self.n_averaged.fill_(2)
    else:
        original(self, model)
