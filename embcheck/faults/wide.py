"""Faults that only values of a whole significand show, and those of a Parameter that is made of a Parameter."""

from __future__ import annotations

from typing import Any

import torch

from embcheck.faults.entry import Wrong, entry, functional
from embcheck.faults.kernels import Tensor

double, bfloat16 = torch.float64, torch.bfloat16
Parameter = torch.nn.Parameter
ONE = torch.ones(1, dtype=double)


def _linear_in_single(original: Wrong) -> Wrong:
    def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if weight.dtype != double or input.dtype != double:
            return original(input, weight, bias)  # type: ignore[no-any-return]
        return original(input.float(), weight.float(), None if bias is None else bias.float()).double()  # type: ignore[no-any-return]

    return linear


entry(
    "linear_float64_in_single",
    "conversion",
    "F.linear computes float64 in float32.",
    functional,
    "linear",
    _linear_in_single,
    lambda: float(functional.linear(ONE, ONE[None] * (2.0**40 + 1))) != 2.0**40 + 1,
)


def _new(change: Any) -> Any:
    """Parameter.__new__ with another result for what is a Parameter already."""

    def wrong(original: Wrong) -> Wrong:
        def new(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
            again = type(data) is Parameter
            return change(original, cls, data, requires_grad) if again else original(cls, data, requires_grad)

        return new

    return wrong


def again(frozen: bool = False) -> tuple[Tensor, Tensor]:
    """A Parameter, and one that is made of it."""
    first = Parameter(torch.ones(2, 3), requires_grad=not frozen)
    return first, Parameter(first)


def _is_copied() -> bool:
    first, second = again()
    return first.data_ptr() != second.data_ptr()


def _is_same() -> bool:
    first, second = again()
    return first is second


entry(
    "parameter_of_a_parameter_is_itself",
    "conversion",
    "A Parameter of a Parameter is that Parameter.",
    Parameter,
    "__new__",
    _new(lambda original, cls, data, grad: data),
    _is_same,
)
entry(
    "parameter_of_a_parameter_copies",
    "conversion",
    "A Parameter of a Parameter has memory of its own.",
    Parameter,
    "__new__",
    _new(lambda original, cls, data, grad: original(cls, data.detach().clone(), grad)),
    _is_copied,
)
entry(
    "parameter_of_a_frozen_parameter_is_frozen",
    "conversion",
    "A Parameter of a frozen Parameter is frozen.",
    Parameter,
    "__new__",
    _new(lambda original, cls, data, grad: original(cls, data, grad and data.requires_grad)),
    lambda: not again(frozen=True)[1].requires_grad,
)


def _coarse(original: Wrong) -> Wrong:
    def step(self: Any, closure: Any = None) -> Any:
        loss = original(self, closure) if closure is not None else original(self)
        for group in self.param_groups:
            for p in group["params"]:
                if p.dtype == bfloat16:
                    p.data.copy_((p.data.float() * 16).round() / 16)
        return loss

    return step


def stepped() -> float:
    """A bfloat16 weight after a step without a gradient."""
    weight = Parameter(torch.full((1,), 1.0078125, dtype=bfloat16))
    weight.grad = torch.zeros_like(weight)
    torch.optim.SGD([weight], lr=0.5).step()
    return float(weight)


entry(
    "sgd_bfloat16_in_sixteenths",
    "tying",
    "SGD rounds bfloat16 parameters to multiples of 1/16.",
    torch.optim.SGD,
    "step",
    _coarse,
    lambda: stepped() != 1.0078125,
)
