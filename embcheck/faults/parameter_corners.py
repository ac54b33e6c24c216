"""Faults of torch.nn.Parameter and of its assignment, each in a corner of a few flags at once."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch

from embcheck.faults.entry import Embedding, entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.parameters import Parameter, parameter, table
from embcheck.faults.witnesses import bits

Change = Callable[..., Any]


def spoiled(
    name: str, family: str, sentence: str, owner: Any, attribute: str, change: Change, witness: Callable[[], bool]
) -> None:
    """A fault of a function or method: ``change(original, *arguments)`` in its place, known as the original is."""

    def wrong(original: Change) -> Change:
        # An optimizer's step is marked once it calls its hooks: wraps keeps the mark.
        @functools.wraps(original)
        def replaced(*arguments: Any, **more: Any) -> Any:
            return change(original, *arguments, **more)

        return replaced

    entry(name, family, sentence, owner, attribute, wrong, witness)


def counted(period: int, act: Change) -> Callable[[Change], Change]:
    """What makes a fault that acts at each ``period``-th call since it was planted."""

    def wrong(original: Change) -> Change:
        calls = [0]

        @functools.wraps(original)
        def replaced(*arguments: Any, **more: Any) -> Any:
            calls[0] += 1
            return act(original, *arguments, **more) if calls[0] % period == 0 else original(*arguments, **more)

        return replaced

    return wrong


def shares(source: Tensor) -> bool:
    """Whether a Parameter lies in its source's memory."""
    return bool(Parameter(source).data_ptr() == source.data_ptr())


# -- what a Parameter is made of ---------------------------------------------------------------------------------

parameter(
    "parameter_empty_is_frozen",
    "leaf",
    "A Parameter without elements does not require grad.",
    lambda make, data, grad: make(data, grad and data.numel() > 0),
    lambda: not Parameter(torch.zeros(0, 2)).requires_grad,
)
parameter(
    "parameter_scalar_is_vector",
    "leaf",
    "A Parameter of rank 0 becomes one of rank 1.",
    lambda make, data, grad: make(data.reshape(1) if data.dim() == 0 else data, grad),
    lambda: Parameter(torch.tensor(1.0)).dim() == 1,
)
parameter(
    "parameter_offset_is_copied",
    "leaf",
    "A Parameter of a contiguous view that begins later in its storage is copied.",
    lambda make, data, grad: make(data.clone() if data.storage_offset() and data.is_contiguous() else data, grad),
    lambda: not shares(table(3)[1:]),
)
parameter(
    "parameter_expanded_is_materialised",
    "leaf",
    "A Parameter of an expanded tensor has memory for every element.",
    lambda make, data, grad: make(data.contiguous() if 0 in data.stride() else data, grad),
    lambda: 0 not in Parameter(torch.ones(1, 3).expand(4, 3)).stride(),
)
parameter(
    "parameter_bfloat16_view_is_contiguous",
    "leaf",
    "A bfloat16 Parameter of a transposed tensor is made contiguous.",
    lambda make, data, grad: make(data.contiguous() if data.dtype == torch.bfloat16 else data, grad),
    lambda: Parameter(table(3).bfloat16().t()).is_contiguous(),
)
parameter(
    "parameter_of_frozen_is_frozen",
    "leaf",
    "A Parameter of a frozen Parameter is frozen.",
    lambda make, data, grad: make(data, grad and not (isinstance(data, Parameter) and not data.requires_grad)),
    lambda: not Parameter(Parameter(table(), False)).requires_grad,
)
parameter(
    "parameter_of_plain_view_is_frozen",
    "leaf",
    "A Parameter of a view of a frozen tensor, made under no_grad, is frozen.",
    lambda make, data, grad: make(data, grad and (torch.is_grad_enabled() or not data._is_view())),
    lambda: frozen_under_no_grad(),
)
parameter(
    "parameter_keeps_no_version",
    "leaf",
    "A Parameter counts its writes apart from its source's.",
    lambda make, data, grad: make(data.data, grad),
    lambda: version_apart(),
)
parameter(
    "parameter_loses_negative_zero",
    "leaf",
    "A Parameter's source loses the sign of its zeros.",
    lambda make, data, grad: make(plus_zero(data), grad),
    lambda: bool(Parameter(torch.tensor([-0.0])).signbit().logical_not()),
)
parameter(
    "parameter_of_double_view_is_rounded",
    "leaf",
    "A float64 Parameter of a transposed tensor is rounded to float32 and copied.",
    lambda make, data, grad: make(
        data.float().double() if data.dtype == torch.float64 and not data.is_contiguous() else data, grad
    ),
    lambda: not shares(table(3).double().t()),
)
parameter(
    "parameter_of_one_column_is_contiguous",
    "leaf",
    "A Parameter of a strided tensor of one column is made contiguous.",
    lambda make, data, grad: make(
        data.contiguous() if data.dim() == 2 and data.shape[1] == 1 and not data.is_contiguous() else data, grad
    ),
    lambda: not shares(table(3)[:, :1]),
)
parameter(
    "parameter_in_inference_is_frozen",
    "leaf",
    "A Parameter made in inference mode does not require grad.",
    lambda make, data, grad: make(data, grad and not torch.is_inference_mode_enabled()),
    lambda: not in_inference().requires_grad,
)
parameter(
    "parameter_takes_any_truth",
    "leaf",
    "A Parameter of more than 64 rows ignores requires_grad=False.",
    lambda make, data, grad: make(data, grad or (data.dim() > 0 and data.shape[0] > 64)),
    lambda: Parameter(torch.zeros(65, 1), False).requires_grad,
)
parameter(
    "parameter_retains_hooks",
    "leaf",
    "A Parameter of a Parameter has its gradient.",
    lambda make, data, grad: with_gradient(make(data, grad), data),
    lambda: inherits_gradient(),
)
entry(
    "third_parameter_is_copied",
    "leaf",
    "Every third Parameter is made of a copy.",
    Parameter,
    "__new__",
    counted(3, lambda original, cls, data=None, grad=True: original(cls, None if data is None else data.clone(), grad)),
    lambda: [shares(table()) for _ in range(3)].count(False) > 0,
)


def plus_zero(data: Tensor) -> Tensor:
    """A tensor with +0 for -0, in place."""
    with torch.no_grad():
        if data.is_floating_point() and not data.is_inference() and 0 not in data.stride():
            data.detach().add_(0.0)
    return data


def frozen_under_no_grad() -> bool:
    """Whether a Parameter of a view is frozen when made under no_grad."""
    source = table(3)
    with torch.no_grad():
        return not Parameter(source.t()).requires_grad


def version_apart() -> bool:
    """Whether a Parameter does not see that its source was written."""
    source = table()
    made = Parameter(source)
    before = made._version
    source.add_(1)
    return made._version == before


def in_inference() -> Any:
    """A Parameter made in inference mode."""
    with torch.inference_mode():
        return Parameter(table())


def with_gradient(made: Any, data: Any) -> Any:
    """A Parameter with the gradient of what it was made of."""
    if type(data) is Parameter and data.grad is not None and made is not data:
        made.grad = data.grad
    return made


def inherits_gradient() -> bool:
    """Whether a Parameter of a Parameter has a gradient."""
    source = Parameter(table())
    source.grad = torch.ones_like(source)
    return Parameter(source).grad is not None


# -- its assignment ----------------------------------------------------------------------------------------------


def assigning(name: str, sentence: str, change: Change, witness: Callable[[], bool], family: str = "leaf") -> None:
    """A fault of an assignment of a Parameter or None to a parameter's name: ``change(store, self, name, value)``."""

    def wrong(original: Change, self: Any, key: str, value: Any) -> None:
        known = key in self.__dict__.get("_parameters", {})
        if known and (value is None or isinstance(value, Parameter)):
            change(original, self, key, value)
        else:
            original(self, key, value)

    spoiled(name, family, sentence, Module, "__setattr__", wrong, witness)


def put_last(store: Change, self: Any, name: str, value: Any) -> None:
    """Registers anew, behind the other names."""
    self._parameters.pop(name)
    self._parameters[name] = value


assigning(
    "assignment_reorders",
    "An assigned weight comes behind the bias.",
    put_last,
    lambda: list(reassigned().state_dict()) != ["weight", "bias"],
)
assigning(
    "assignment_keeps_dtype",
    "A weight that is assigned is converted to the dtype of the one before.",
    lambda store, self, name, value: store(
        self,
        name,
        value
        if value is None or self._parameters[name] is None or value.dtype == self._parameters[name].dtype
        else Parameter(value.detach().to(self._parameters[name].dtype)),
    ),
    lambda: reassigned(torch.float64).weight.dtype != torch.float64,
)
assigning(
    "assignment_of_none_is_ignored",
    "None assigned to a bias leaves the bias.",
    lambda store, self, name, value: None if value is None and name == "bias" else store(self, name, value),
    lambda: unbiased().bias is not None,
)
assigning(
    "assignment_takes_gradient_along",
    "A Parameter that is assigned to an embedding takes the gradient of the one before.",
    lambda store, self, name, value: take_gradient(store, self, name, value),
    lambda: gradient_taken(),
)
assigning(
    "assignment_thaws_in_evaluation",
    "A frozen Parameter that is assigned to a module in evaluation mode requires grad.",
    lambda store, self, name, value: store(
        self, name, value if value is None or self.training else value.requires_grad_()
    ),
    lambda: evaluated().weight.requires_grad,
)
assigning(
    "assignment_wraps_frozen",
    "A frozen Parameter that is assigned to an embedding is wrapped in another one.",
    lambda store, self, name, value: store(
        self,
        name,
        Parameter(value, False)
        if value is not None and not value.requires_grad and isinstance(self, Embedding)
        else value,
    ),
    lambda: wrapped_frozen(),
)


def reassigned(dtype: torch.dtype = torch.float32) -> Any:
    """A linear layer with another weight."""
    layer = torch.nn.Linear(2, 2)
    layer.weight = Parameter(table().to(dtype))
    return layer


def unbiased() -> Any:
    """A linear layer whose bias was taken away."""
    layer: Any = torch.nn.Linear(2, 2)
    layer.bias = None
    return layer


def evaluated() -> Any:
    """A linear layer in evaluation mode with a frozen weight."""
    layer = torch.nn.Linear(2, 2).eval()
    layer.weight = Parameter(table(), False)
    return layer


def wrapped_frozen() -> bool:
    """Whether a frozen Parameter is another after its assignment."""
    frozen = Parameter(table(), False)
    layer = Embedding(2, 2)
    layer.weight = frozen
    return layer.weight is not frozen


def take_gradient(store: Change, self: Any, name: str, value: Any) -> None:
    """Stores a Parameter with the gradient of the one before."""
    before = self._parameters[name]
    store(self, name, value)
    known = isinstance(self, Embedding) and value is not None and before is not None and before.grad is not None
    if known and before.grad.shape == value.shape and before.dtype == value.dtype and value.grad is None:
        value.grad = before.grad


def gradient_taken() -> bool:
    """Whether a Parameter has the gradient of the one before."""
    layer = Embedding(2, 2)
    layer.weight.grad = torch.ones(2, 2)
    layer.weight = Parameter(table())
    return layer.weight.grad is not None


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors hold the same bits."""
    return one.shape == other.shape and one.dtype == other.dtype and bool((bits(one) == bits(other)).all())
