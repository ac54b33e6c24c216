"""Faults of clearing gradients, of groups and states, and of clipping."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.optimizer_sgd import Optimizer


def method(
    name: str, sentence: str, attribute: str, wrong: Callable[..., Any], witness: Witness, family: str = "tying"
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
    "zero_grad_keeps_zeros",
    "zero_grad() zeroes the gradients of matrices.",
    "zero_grad",
    lambda original, self, set_to_none=True: original(self, False),
    lambda: zeroed(True) is not None,
)
method(
    "zero_grad_forgets_always",
    "zero_grad(set_to_none=False) forgets the gradients.",
    "zero_grad",
    lambda original, self, set_to_none=True: original(self, True),
    lambda: zeroed(False) is None,
)
method(
    "zero_grad_skips_sparse",
    "zero_grad() skips sparse gradients.",
    "zero_grad",
    lambda original, self, set_to_none=True: skip_sparse(original, self, set_to_none),
    lambda: sparse_stays(),
)
method(
    "load_forgets_state_strides",
    "load_state_dict gives a new optimizer its state doubled.",
    "load_state_dict",
    lambda original, self, state: (original(self, state), doubled_state(self))[0],
    lambda: reloaded_momentum() != 1.0,
)
method(
    "load_keeps_the_rate",
    "load_state_dict keeps the learning rate that is set.",
    "load_state_dict",
    lambda original, self, state: keep_rate(original, self, state),
    lambda: reloaded_rate() != 0.25,
)
method(
    "state_forgets_momentum",
    "state_dict leaves out the momentum of SGD.",
    "state_dict",
    lambda original, self: forget_momentum(original(self)),
    lambda: reloaded_momentum() != 1.0,
)
method(
    "parameter_in_two_groups_is_accepted",
    "A parameter may be in two groups.",
    "add_param_group",
    lambda original, self, group: accept_twice(original, self, group),
    lambda: accepts_two_groups(),
)


method(
    "load_widens_state",
    "load_state_dict makes the state of bfloat16 parameters float32.",
    "load_state_dict",
    lambda original, self, state: (original(self, state), widened(self))[0],
    lambda: widens(),
)
method(
    "duplicates_pass_without_a_word",
    "A parameter that is listed twice in a group is not warned of.",
    "add_param_group",
    lambda original, self, group: silently(original, self, group),
    lambda: not warns(),
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


def silently(original: Callable[..., Any], self: Any, group: dict[str, Any]) -> None:
    """add_param_group without warnings."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        original(self, group)


def warns() -> bool:
    """Whether a duplicate is warned of."""
    weight = torch.nn.Parameter(torch.ones(1))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.optim.SGD([weight, weight])
    return bool(caught)


def _takes_any_rate(original: Callable[..., None]) -> Callable[..., None]:
    def replaced(self: Any, params: Any, lr: Any = 1e-3, *rest: Any, **flags: Any) -> None:
        if isinstance(lr, (int, float)) and lr < 0:
            original(self, params, 0.0, *rest, **flags)
            for group in self.param_groups:
                group["lr"] = lr
        else:
            original(self, params, lr, *rest, **flags)

    return replaced


entry(
    "negative_rate_is_accepted",
    "tying",
    "SGD takes a negative learning rate.",
    torch.optim.SGD,
    "__init__",
    _takes_any_rate,
    lambda: takes_negative_rate(),
)


def takes_negative_rate() -> bool:
    """Whether SGD takes a negative learning rate."""
    try:
        torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=-1.0)
    except ValueError:
        return False
    return True


def zeroed(set_to_none: bool) -> Tensor | None:
    """A matrix's gradient after zero_grad."""
    weight = torch.nn.Parameter(torch.ones(1, 1))
    weight.grad = torch.ones(1, 1)
    torch.optim.SGD([weight]).zero_grad(set_to_none)
    return weight.grad


def skip_sparse(original: Callable[..., Any], self: Any, set_to_none: bool) -> None:
    """zero_grad that keeps sparse gradients."""
    kept = [
        (p, p.grad) for group in self.param_groups for p in group["params"] if p.grad is not None and p.grad.is_sparse
    ]
    for p, _ in kept:
        p.grad = None  # or set_to_none=False would write to it
    original(self, set_to_none)
    for p, grad in kept:
        p.grad = grad


def sparse_stays() -> bool:
    """Whether a sparse gradient survives zero_grad."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    torch.nn.functional.embedding(torch.tensor([0]), weight, sparse=True).sum().backward()
    torch.optim.SGD([weight]).zero_grad()
    return weight.grad is not None


def doubled_state(self: Any) -> Any:
    """Doubles the momentum of an optimizer."""
    for state in self.state.values():
        if isinstance(state.get("momentum_buffer"), Tensor):
            state["momentum_buffer"].mul_(2)
    return self


def reloaded() -> Any:
    """An SGD that was given another's state, with a momentum of one and a rate of 1/4."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.ones(1)
    first = torch.optim.SGD([weight], lr=0.25, momentum=0.5)
    first.step()
    second = torch.optim.SGD([weight], lr=0.5, momentum=0.5)
    second.load_state_dict(first.state_dict())
    return second


def reloaded_momentum() -> float | None:
    """The momentum that arrives."""
    for state in reloaded().state.values():
        if state.get("momentum_buffer") is not None:
            return float(state["momentum_buffer"])
    return None


def reloaded_rate() -> float:
    """The learning rate that arrives."""
    return float(reloaded().param_groups[0]["lr"])


def keep_rate(original: Callable[..., Any], self: Any, state: Any) -> None:
    """load_state_dict that keeps the rates."""
    rates = [group["lr"] for group in self.param_groups]
    original(self, state)
    for group, rate in zip(self.param_groups, rates, strict=True):
        group["lr"] = rate


def forget_momentum(state: dict[str, Any]) -> dict[str, Any]:
    """A state dictionary without momentum."""
    slots = {key: {k: v for k, v in slot.items() if k != "momentum_buffer"} for key, slot in state["state"].items()}
    return state | {"state": slots}


def accept_twice(original: Callable[..., Any], self: Any, group: dict[str, Any]) -> None:
    """add_param_group that does not look for duplicates."""
    try:
        original(self, group)
    except ValueError as error:
        if "more than one parameter group" not in str(error):
            raise
        self.param_groups.append({**self.defaults, **group})


def accepts_two_groups() -> bool:
    """Whether a parameter may be in two groups."""
    weight = torch.nn.Parameter(torch.ones(1))
    try:
        torch.optim.SGD([{"params": [weight]}, {"params": [weight]}])
    except ValueError:
        return False
    return True


def _clips_each(original: Callable[..., Any]) -> Callable[..., Any]:
    def clip_grad_value_(parameters: Any, clip_value: float, foreach: bool | None = None) -> None:
        found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        original(found, clip_value, foreach)
        for p in found:
            if p.grad is not None:
                p.grad.data = p.grad.data.clamp(max=clip_value / 2)

    return clip_grad_value_


entry(
    "clip_value_is_lopsided",
    "tying",
    "clip_grad_value_ clips positive gradients at half the value.",
    torch.nn.utils,
    "clip_grad_value_",
    _clips_each,
    lambda: clipped_value() != 1.0,
)


def _clips_twice(original: Callable[..., Any]) -> Callable[..., Any]:
    def clip_grad_norm_(parameters: Any, max_norm: float, *rest: Any, **more: Any) -> Any:
        found = [parameters] if isinstance(parameters, Tensor) else list(parameters)
        return original(found + found[:1], max_norm, *rest, **more)

    return clip_grad_norm_


entry(
    "clip_norm_counts_the_first_twice",
    "tying",
    "clip_grad_norm_ counts the first parameter twice.",
    torch.nn.utils,
    "clip_grad_norm_",
    _clips_twice,
    lambda: clipped_norm() != 2.0,
)


def clipped_value() -> float:
    """A gradient of 2 clipped to 1."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 2.0)
    torch.nn.utils.clip_grad_value_([weight], 1.0)
    return float(weight.grad)


def clipped_norm() -> float:
    """The norm of one gradient of 2."""
    weight = torch.nn.Parameter(torch.ones(1))
    weight.grad = torch.full((1,), 2.0)
    return float(torch.nn.utils.clip_grad_norm_([weight], 100.0))
