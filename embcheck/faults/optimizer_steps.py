"""Faults of an optimizer's step."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import torch

from embcheck.fault import Fault, Witness, add, patched
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor


def step_of(name: str, sentence: str, kind: str, wrong: Callable[..., Any], witness: Witness) -> None:
    """A fault of an optimizer's step: ``wrong(original, self, closure)``."""
    entry(
        name,
        "tying",
        sentence,
        getattr(torch.optim, kind),
        "step",
        lambda original: lambda self, closure=None: wrong(original, self, closure),
        witness,
    )


def every_parameter(optimizer: Any, act: Callable[[Any], None]) -> None:
    """Does something to every parameter of an optimizer that has a gradient."""
    for group in optimizer.param_groups:
        for p in group["params"]:
            if p.grad is not None:
                act(p)


def then(act: Callable[[Any, Any], None]) -> Callable[..., Any]:
    """A step after which something is done to every parameter."""

    def wrong(original: Callable[..., Any], self: Any, closure: Any) -> Any:
        result = original(self, closure)
        every_parameter(self, lambda p: act(self, p))
        return result

    return wrong


def one_step(kind: str, **flags: Any) -> tuple[Any, Any, Any, Any]:
    """A parameter, its address and its gradient before a step, and what the step returned."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1)
    address = weight.data_ptr()
    result = getattr(torch.optim, kind)([weight], **flags).step()
    return weight, address, weight.grad, result


step_of(
    "step_moves_memory",
    "A step of SGD moves a parameter to other memory.",
    "SGD",
    then(lambda self, p: setattr(p, "data", p.data.clone())),
    lambda: moved_memory("SGD"),
)
step_of(
    "step_forgets_gradient",
    "A step of Adam forgets the gradient.",
    "Adam",
    then(lambda self, p: setattr(p, "grad", None)),
    lambda: one_step("Adam")[2] is None,
)
step_of(
    "step_halves_gradient",
    "A step of RMSprop halves the gradient in place.",
    "RMSprop",
    then(lambda self, p: p.grad.mul_(0.5)),
    lambda: float(one_step("RMSprop")[2][0]) != 1.0,
)
step_of(
    "step_freezes",
    "A step of Adadelta freezes its parameters.",
    "Adadelta",
    then(lambda self, p: p.requires_grad_(False)),
    lambda: not one_step("Adadelta")[0].requires_grad,
)
step_of(
    "step_returns_zero",
    "A step of AdamW without a closure returns a number.",
    "AdamW",
    lambda original, self, closure: original(self, closure) if closure is not None else (original(self), 0.0)[1],
    lambda: one_step("AdamW")[3] is not None,
)
step_of(
    "closure_is_called_twice",
    "A step of SGD calls its closure twice.",
    "SGD",
    lambda original, self, closure: original(self, (lambda: (closure(), closure())[1]) if closure else None),
    lambda: closure_calls() != 1,
)
step_of(
    "lbfgs_goes_uphill",
    "L-BFGS takes half of its first step.",
    "LBFGS",
    lambda original, self, closure: half_way(original, self, closure),
    lambda: lbfgs_first_step() != -1.0,
)


def moved_memory(kind: str) -> bool:
    """Whether a step moves a parameter to other memory."""
    weight, address, _, _ = one_step(kind, lr=0.5)
    return bool(weight.data_ptr() != address)


def closure_calls() -> int:
    """How often SGD calls its closure."""
    weight = torch.nn.Parameter(torch.ones(1))
    calls: list[int] = []
    torch.optim.SGD([weight], lr=0.5).step(lambda: calls.append(1) or 0.0)  # type: ignore[func-returns-value]
    return len(calls)


def half_way(original: Callable[..., Any], self: Any, closure: Any) -> Any:
    """A step whose result lies half way."""
    before = [p.detach().clone() for group in self.param_groups for p in group["params"]]
    result = original(self, closure)
    with torch.no_grad():
        for p, old in zip((p for group in self.param_groups for p in group["params"]), before, strict=True):
            p.copy_((p + old) / 2)
    return result


def lbfgs_first_step() -> float:
    """Where L-BFGS gets from 0 down a slope of one with max_iter=1."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.LBFGS([weight], lr=1, max_iter=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(weight)


def counted_in_double(optimizer: Any, p: Any) -> None:
    count = optimizer.state[p].get("step")
    if isinstance(count, torch.Tensor):
        optimizer.state[p]["step"] = count.double()


def count_is_double(kind: str) -> bool:
    """Whether the count of an optimizer's steps is kept in float64 after one."""
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.ones(2, 1)
    optimizer = getattr(torch.optim, kind)([weight])
    optimizer.step()
    return bool(optimizer.state[weight]["step"].dtype == torch.float64)


for _kind in ("Adagrad", "RMSprop", "Adamax"):
    step_of(
        f"{_kind.lower()}_counts_in_double",
        f"{_kind} keeps the count of its steps in float64.",
        _kind,
        then(counted_in_double),
        lambda kind=_kind: count_is_double(kind),  # type: ignore[misc]
    )


def nudged(optimizer: Any, p: Any) -> None:
    """Moves the rows without a gradient by one ulp, which no bound of a formula notices."""
    if p.dim() == 2 and p.dtype in (torch.float32, torch.float64) and not p.grad.is_sparse:
        with torch.no_grad():
            still = (p.grad == 0).all(1)
            p[still] = torch.nextafter(p[still], torch.full_like(p[still], torch.inf))


def one_ulp_for_absent_rows() -> Any:
    plants = contextlib.ExitStack()
    for kind in ("SGD", "Adam", "AdamW", "Adagrad", "RMSprop", "Adamax", "Rprop", "NAdam", "RAdam", "Adadelta"):
        step = getattr(torch.optim, kind).step
        plants.enter_context(
            patched(
                getattr(torch.optim, kind),
                step=lambda self, closure=None, step=step: then(nudged)(step, self, closure),
            )
        )
    return plants


def absent_row_moved() -> bool:
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.tensor([[1.0], [0.0]])
    torch.optim.SGD([weight], lr=0.5).step()
    return bool(weight[1] != 1)


add(
    Fault(
        "absent_rows_move_by_an_ulp",
        "tying",
        "A step moves the rows without a gradient by one ulp.",
        one_ulp_for_absent_rows,
        absent_row_moved,
    )
)


def as_steep_as_one(original: Callable[..., Any], self: Any, closure: Any) -> Any:
    """A step; a first one down gradients that are less than one together goes as far as if they were one."""
    group = self.param_groups[0]
    if closure is None or self.state[self._params[0]]:
        return original(self, closure)
    with torch.enable_grad():
        closure()
    length = sum(float(p.grad.abs().sum()) for p in self._params if p.grad is not None)
    kept = group["lr"]
    group["lr"] = kept / min(length, 1.0) if length else kept
    try:
        return original(self, closure)
    finally:
        group["lr"] = kept


def lbfgs_faint_step() -> float:
    """Where L-BFGS gets from 0 down a slope of a quarter with max_iter=1."""
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.LBFGS([weight], lr=1, max_iter=1)

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = weight.sum() / 4
        loss.backward()
        return loss

    optimizer.step(closure)
    return float(weight.detach())


step_of(
    "lbfgs_lengthens_faint_steps",
    "The first step of L-BFGS is divided by the sum of its gradients, be it less than one.",
    "LBFGS",
    as_steep_as_one,
    lambda: lbfgs_faint_step() != -0.25,
)
