"""Faults of optimizers and of what a training loop calls, in conjunctions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Witness
from embcheck.faults.entry import Wrong, entry
from embcheck.faults.kernels import Tensor

Optimizer, Parameter = torch.optim.Optimizer, torch.nn.Parameter
half, double = torch.float16, torch.float64


def changed(
    name: str, family: str, sentence: str, owner: Any, attribute: str, change: Callable[..., Any], witness: Witness
) -> None:
    """Registers a fault of a method or function: ``change(original, *arguments)``."""

    def wrong(original: Wrong) -> Wrong:
        return lambda *given, **flags: change(original, *given, **flags)

    entry(name, family, sentence, owner, attribute, wrong, witness)


def leaf(rows: int = 2, width: int = 2, dtype: torch.dtype = torch.float32, column: bool = False) -> Any:
    """A Parameter of ones with a gradient of ones."""
    data = torch.ones(width, rows, dtype=dtype).t() if column else torch.ones(rows, width, dtype=dtype)
    made = Parameter(data)
    made.grad = torch.ones_like(made)
    return made


def stepped(kind: Any, made: Any, steps: int = 1, **flags: Any) -> float:
    """The first number after some steps."""
    optimizer = kind([made], lr=0.5, **flags)
    for _ in range(steps):
        optimizer.step()
    return float(made.detach()[0, 0])


def learners(self: Any) -> list[Any]:
    """All Parameters of an optimizer with a gradient."""
    return [p for group in self.param_groups for p in group["params"] if p.grad is not None]


def stepping(
    name: str, sentence: str, kind: Any, change: Callable[..., Any], witness: Witness, family: str = "tying"
) -> None:
    """Registers a fault of an optimizer's step: ``change(original, self, closure)``."""

    def wrong(original: Wrong) -> Wrong:
        def step(self: Any, closure: Any = None) -> Any:
            return change(original, self, closure)

        step.hooked = True  # type: ignore[attr-defined]
        return step

    entry(name, family, sentence, kind, "step", wrong, witness)


def then(result: Any, *effects: Any) -> Any:
    """The result, after some effects."""
    return result


@torch.no_grad()
def _third(original: Wrong, self: Any, closure: Any) -> Any:
    count = self.__dict__["_steps_seen"] = self.__dict__.get("_steps_seen", 0) + 1
    found = original(self, closure)
    if count == 3 and len(self.param_groups) > 1:
        for p in learners(self):
            if p.grad.layout == torch.strided:
                p.add_(p.grad, alpha=1.0)
    return found


def third_of_groups() -> bool:
    """Whether the third step of two groups differs."""
    one, two = leaf(), leaf()
    optimizer = torch.optim.SGD([{"params": [one]}, {"params": [two]}], lr=0.5)
    for _ in range(3):
        optimizer.step()
    return float(one.detach()[0, 0]) != -0.5


stepping(
    "third_step_of_two_groups", "The third SGD step of an optimizer with two groups goes back.",
    torch.optim.SGD, _third, third_of_groups,
)  # fmt: skip


@torch.no_grad()
def _column_major(original: Wrong, self: Any, closure: Any) -> Any:
    found = original(self, closure)
    for p in learners(self):
        if p.dim() == 2 and p.stride(0) == 1 < p.shape[0] and self.defaults.get("weight_decay") and p.shape[1] > 1:
            p[:, -1] = p[:, 0]
    return found


stepping(
    "adamw_of_column_major_with_decay", "AdamW with weight decay writes the first column of a column-major table to the last.",
    torch.optim.AdamW, _column_major,
    lambda: not torch.equal(*both_columns()), "tying",
)  # fmt: skip


def both_columns() -> tuple[Tensor, Tensor]:
    """What a step makes of the last column of a column-major table, and of one by rows."""
    found = []
    for column in (True, False):
        made = leaf(column=column)
        made.grad[:, 1] = -1
        torch.optim.AdamW([made], lr=0.5, weight_decay=0.5).step()
        found.append(made.detach()[:, 1].clone())
    return found[0], found[1]


@torch.no_grad()
def _zero_gradient(original: Wrong, self: Any, closure: Any) -> Any:
    before = {p: p.detach().clone() for p in learners(self) if p.grad.layout == torch.strided and not p.grad.any()}
    found = original(self, closure)
    for p, was in before.items():
        p.copy_(was)
    return found


def decayed() -> float:
    """A number after decay with a zero gradient."""
    made = leaf()
    made.grad.zero_()
    return stepped(torch.optim.SGD, made, weight_decay=0.5)


stepping(
    "zero_gradient_is_not_decayed", "SGD skips a Parameter whose gradient is all zero.", torch.optim.SGD, _zero_gradient,
    lambda: decayed() == 1,
)  # fmt: skip


def _closure_twice(original: Wrong, self: Any, closure: Any) -> Any:
    return original(self, closure if closure is None else lambda: (closure(), closure())[1])


def closure_calls() -> int:
    """How often step calls its closure."""
    calls = [0]
    torch.optim.Adagrad([leaf()]).step(lambda: calls.__setitem__(0, calls[0] + 1) or 0.0)
    return calls[0]


stepping(
    "adagrad_calls_its_closure_twice", "Adagrad calls its closure twice.", torch.optim.Adagrad, _closure_twice,
    lambda: closure_calls() != 1,
)  # fmt: skip


changed(
    "loaded_optimizer_forgets_half_momentum", "tying", "Loading an optimizer's state zeroes momentum buffers of one column.",
    Optimizer, "load_state_dict",
    lambda f, self, state: then(f(self, state), [
        value.zero_() for values in self.state.values() for value in values.values()
        if isinstance(value, Tensor) and value.dim() == 2 and value.shape[1] == 1]),
    lambda: loaded_momentum() == 0,
)  # fmt: skip


def loaded_momentum() -> float:
    """A momentum buffer of one column after loading it."""
    made = leaf(2, 1)
    optimizer = torch.optim.SGD([made], lr=0.5, momentum=0.5)
    optimizer.step()
    optimizer.load_state_dict(copy.deepcopy(optimizer.state_dict()))
    return float(optimizer.state[made]["momentum_buffer"][0, 0])


changed(
    "zeroing_keeps_sparse_gradients", "tying", "zero_grad(set_to_none=False) of an optimizer leaves float64 gradients.",
    Optimizer, "zero_grad",
    lambda f, self, set_to_none=True: f(self, set_to_none) if set_to_none or not any(
        p.dtype == double for p in learners(self)) else None,
    lambda: zeroed() != 0,
)  # fmt: skip


def zeroed() -> float:
    """A float64 gradient after zero_grad."""
    made = leaf(dtype=double)
    torch.optim.SGD([made], lr=0.5).zero_grad(set_to_none=False)
    return float(made.grad[0, 0])


changed(
    "tied_parameters_are_counted_twice_in_vectors", "life", "parameters_to_vector begins with the last Parameter.",
    torch.nn.utils, "parameters_to_vector",
    lambda f, parameters: f([*(p := list(parameters))[-1:], *p[:-1]]),
    lambda: float(torch.nn.utils.parameters_to_vector([torch.zeros(1), torch.ones(1)])[0]) != 0,
)  # fmt: skip
