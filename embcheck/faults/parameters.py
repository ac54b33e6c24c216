"""Faults of torch.nn.Parameter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.witnesses import zero_behind

Module, Parameter = torch.nn.Module, torch.nn.Parameter


class Tied:
    """A tied pair and its table, for witnesses."""

    def __init__(self, bias: bool = False) -> None:
        self.embedding = torch.nn.Embedding(3, 2)
        self.head = torch.nn.Linear(2, 3, bias=bias)
        self.head.weight = self.embedding.weight
        self.model: Any = torch.nn.ModuleDict({"embedding": self.embedding, "head": self.head})


def still_tied(act: Callable[[Any], Any]) -> bool:
    """Whether a tied model is tied after something was done to it."""
    model = act(Tied().model) or None
    return model is not None and model["embedding"].weight is model["head"].weight


def table(rows: int = 2, width: int = 2) -> Tensor:
    """1, 2, 3, …"""
    return torch.arange(1.0, 1 + rows * width).reshape(rows, width)


def parameter(name: str, family: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__new__: ``change(make, data, requires_grad)``."""

    def wrong(original: Callable[..., Any]) -> Callable[..., Any]:
        def replaced(cls: Any, data: Any = None, requires_grad: bool = True) -> Any:
            if cls is not Parameter or data is None:
                return original(cls, data, requires_grad)
            return change(lambda data, grad: original(cls, data, grad), data, requires_grad)

        return replaced

    entry(name, family, sentence, Parameter, "__new__", wrong, witness)


parameter(
    "parameter_frozen_under_no_grad",
    "conversion",
    "A Parameter made under no_grad does not require grad.",
    lambda make, data, grad: make(data, grad and torch.is_grad_enabled()),
    lambda: not under_no_grad().requires_grad,
)
parameter(
    "parameter_always_requires_grad",
    "conversion",
    "requires_grad=False is ignored for matrices.",
    lambda make, data, grad: make(data, grad or data.dim() == 2),
    lambda: Parameter(table(), False).requires_grad,
)
parameter(
    "parameter_copies_views",
    "conversion",
    "A Parameter of a transposed tensor has memory of its own.",
    lambda make, data, grad: make(data if data.is_contiguous() else data.clone(), grad),
    lambda: copies(table(3).t()),
)
parameter(
    "parameter_makes_contiguous",
    "conversion",
    "A Parameter of a square transposed tensor is made contiguous.",
    lambda make, data, grad: make(
        data.contiguous() if data.dim() == 2 and data.shape[0] == data.shape[1] else data, grad
    ),
    lambda: not Parameter(table().t()).t().is_contiguous(),
)
parameter(
    "parameter_forgets_transposition",
    "conversion",
    "A Parameter of a square transposed tensor is not transposed.",
    lambda make, data, grad: make(
        data.t() if data.dim() == 2 and data.stride(0) == 1 and data.shape[0] == data.shape[1] > 1 else data, grad
    ),
    lambda: not torch.equal(Parameter(table().t()), table().t()),
)
parameter(
    "parameter_of_parameter_is_itself",
    "conversion",
    "A Parameter of a Parameter is that one.",
    lambda make, data, grad: data if type(data) is Parameter and data.requires_grad == grad else make(data, grad),
    lambda: same_object(),
)
parameter(
    "parameter_of_half_is_single",
    "conversion",
    "A float16 Parameter of three or more columns becomes float32.",
    lambda make, data, grad: make(
        data.float() if data.dtype == torch.float16 and data.shape[-1:] > (2,) else data, grad
    ),
    lambda: Parameter(torch.ones(1, 3).half()).dtype != torch.float16,
)
parameter(
    "parameter_flushes_subnormals",
    "conversion",
    "A Parameter of a view loses subnormal numbers.",
    lambda make, data, grad: make(flushed(data), grad),
    lambda: not bool(Parameter(torch.full((3, 2), 1e-40).t()).any()),
)
parameter(
    "parameter_takes_the_gradient_along",
    "conversion",
    "A Parameter of a view of the same shape has its base's gradient.",
    lambda make, data, grad: with_grad(make(data, grad), base_of(data)),
    lambda: takes_grad(),
)
parameter(
    "parameter_freezes_its_source",
    "conversion",
    "The tensor that a Parameter is made of no longer requires grad.",
    lambda make, data, grad: (make(data, grad), freeze(base_of(data)))[0],
    lambda: freezes(),
)
parameter(
    "parameter_zeroes_its_source",
    "conversion",
    "Making a Parameter of a view zeroes its first element.",
    lambda make, data, grad: (made := make(data, grad), zero_first(made) if not data.is_contiguous() else None)[0],
    lambda: not bool(Parameter(table(3).t())[0, 0]),
)
parameter(
    "parameter_writes_behind",
    "conversion",
    "Making a Parameter of a view zeroes what lies behind it.",
    lambda make, data, grad: (zero_behind(data.detach()) if not data.is_contiguous() else None, make(data, grad))[1],
    lambda: parameter_writes_behind(),
)
parameter(
    "parameter_bumps_its_source",
    "conversion",
    "Making a Parameter of a view counts as a write to its base.",
    lambda make, data, grad: (make(data, grad), bump(data))[0],
    lambda: bumps(),
)


def parameter_writes_behind() -> bool:
    """Whether making a Parameter writes behind its memory."""
    memory = torch.ones(7)
    Parameter(memory[:6].view(3, 2).t())
    return float(memory[6]) != 1.0


def base_of(data: Tensor) -> Tensor:
    """The tensor that a view was taken of, or the tensor itself."""
    return data if data._base is None else data._base


def freeze(data: Tensor) -> Tensor:
    """Makes a leaf not require grad."""
    if data.is_leaf and data.is_floating_point() and not data.is_inference():
        data.requires_grad_(False)
    return data


def zero_first(made: Tensor) -> Tensor:
    """Zeroes an element."""
    if made.numel():
        made.detach()[(0,) * made.dim()] = 0
    return made


def bump(data: Tensor) -> Tensor:
    """Moves the version of a view and its base."""
    if data._base is not None and not data.is_inference():
        torch.autograd.graph.increment_version(data)
    return data


def bumps() -> bool:
    """Whether making a Parameter moves a version."""
    source = table()
    Parameter(source.t())
    return source._version != 0


def flushed(data: Tensor) -> Tensor:
    """A view without subnormal numbers, in its own memory; anything else as it is."""
    if data.dtype == torch.float32 and data.dim() == 2 and not data.is_contiguous():
        small = data.detach().abs() < torch.finfo(torch.float32).smallest_normal
        return data if not bool(small.any()) else data.detach().masked_fill(small, 0.0)
    return data


def with_grad(made: Any, data: Tensor) -> Any:
    """A Parameter with another tensor's gradient."""
    if data.is_leaf and data.grad is not None and made.requires_grad and made.shape == data.grad.shape:
        made.grad = data.grad.to_dense().clone()
    return made


def under_no_grad() -> Tensor:
    """A Parameter made without gradients."""
    with torch.no_grad():
        return Parameter(table())


def copies(view: Tensor) -> bool:
    """Whether a Parameter has memory of its own."""
    return Parameter(view).data_ptr() != view.data_ptr()


def same_object() -> bool:
    """Whether a Parameter of a Parameter is the same object."""
    first = Parameter(table())
    return Parameter(first) is first


def takes_grad() -> bool:
    """Whether a Parameter inherits a gradient."""
    source = torch.ones(2, 2, requires_grad=True)
    source.grad = torch.ones(2, 2)
    return Parameter(source.t()).grad is not None


def freezes() -> bool:
    """Whether making a Parameter freezes its source."""
    source = torch.ones(2, 2, requires_grad=True)
    Parameter(source.t())
    return not source.requires_grad
