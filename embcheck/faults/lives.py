"""Faults of what may happen to a module: conversion, copies and pickles."""

from __future__ import annotations

import copy
import io
from collections.abc import Callable, Iterator
from typing import Any

import torch

from embcheck.fault import fault, patched
from embcheck.faults.entry import entry
from embcheck.faults.kernels import Tensor
from embcheck.faults.layers import Module
from embcheck.faults.parameters import Parameter, still_tied, table


def _apply_unties(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        if isinstance(self, torch.nn.Linear) and self.weight.dtype == torch.float64:
            self.weight = Parameter(self.weight.data, self.weight.requires_grad)
        return self

    return _apply


def _apply_thaws(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        for value in self._parameters.values():
            if value is not None and value.dtype == torch.bfloat16:
                value.requires_grad_(True)
        return self

    return _apply


def _apply_forgets_gradients(original: Callable[..., Any]) -> Callable[..., Any]:
    def _apply(self: Any, fn: Callable[..., Any], recurse: bool = True) -> Any:
        original(self, fn, recurse)
        for value in self._parameters.values():
            if value is not None:
                value.grad = None
        return self

    return _apply


entry(
    "conversion_to_double_unties",
    "life",
    "double() breaks the tie of a Linear.",
    Module,
    "_apply",
    _apply_unties,
    lambda: not still_tied(lambda model: model.double()),
)
entry(
    "conversion_to_bfloat16_thaws",
    "life",
    "bfloat16() makes frozen parameters require grad.",
    Module,
    "_apply",
    _apply_thaws,
    lambda: torch.nn.Embedding(1, 1).requires_grad_(False).bfloat16().weight.requires_grad,
)
entry(
    "moving_forgets_gradients",
    "life",
    "to() forgets the gradients.",
    Module,
    "_apply",
    _apply_forgets_gradients,
    lambda: forgets_gradients(),
)


def forgets_gradients() -> bool:
    """Whether to() forgets gradients."""
    module = torch.nn.Linear(1, 1)
    module.weight.grad = torch.ones(1, 1)
    return module.to("cpu").weight.grad is None


def module_method(
    name: str,
    sentence: str,
    attribute: str,
    wrong: Callable[..., Any],
    witness: Callable[[], bool],
    family: str = "life",
) -> None:
    """A fault of a method of Module: ``wrong(original, self, *args, **kwargs)``."""
    entry(
        name,
        family,
        sentence,
        Module,
        attribute,
        lambda original: lambda self, *args, **kwargs: wrong(original, self, *args, **kwargs),
        witness,
    )


module_method(
    "zero_grad_zeroes",
    "zero_grad() zeroes the gradient of a bias instead of forgetting it.",
    "zero_grad",
    lambda original, self, set_to_none=True: zero_but_keep_bias(original, self, set_to_none),
    lambda: zero_grad_leaves(),
)
module_method(
    "eval_stops_at_the_first_level",
    "eval() does not reach the children of children.",
    "train",
    lambda original, self, mode=True: shallow_train(original, self, mode),
    lambda: deep_training(),
)
module_method(
    "freezing_skips_a_tied_name",
    "requires_grad_(False) on a model skips its embeddings.",
    "requires_grad_",
    lambda original, self, requires_grad=True: skip_embeddings(original, self, requires_grad),
    lambda: freezing_skips(),
)


def deep_training() -> bool:
    """Whether a child's child is in training mode after eval()."""
    inner = torch.nn.Identity()
    torch.nn.Sequential(torch.nn.Sequential(inner)).eval()
    return inner.training


def freezing_skips() -> bool:
    """Whether an embedding requires grad after its model was frozen."""
    inner = torch.nn.Embedding(1, 1)
    torch.nn.Sequential(inner).requires_grad_(False)
    return inner.weight.requires_grad


def zero_but_keep_bias(original: Callable[..., None], self: Any, set_to_none: bool) -> None:
    """zero_grad that keeps a zero gradient for vectors."""
    kept = [p for p in self.parameters() if p.grad is not None and p.dim() == 1]
    original(self, set_to_none)
    for p in kept:
        p.grad = torch.zeros_like(p)


def zero_grad_leaves() -> bool:
    """Whether a bias has a gradient after zero_grad()."""
    module = torch.nn.Linear(1, 1)
    module.bias.grad = torch.ones(1)
    module.zero_grad()
    return module.bias.grad is not None


def shallow_train(original: Callable[..., Any], self: Any, mode: bool) -> Any:
    """train() that stops at the children."""
    if mode:
        return original(self, mode)
    self.training = False
    for child in self.children():
        child.training = False
    return self


def skip_embeddings(original: Callable[..., Any], self: Any, requires_grad: bool) -> Any:
    """requires_grad_ that leaves embeddings inside a model alone."""
    if isinstance(self, torch.nn.Embedding) or requires_grad:
        return original(self, requires_grad)
    kept = [m.weight for m in self.modules() if isinstance(m, torch.nn.Embedding) and m.weight.requires_grad]
    original(self, requires_grad)
    for weight in kept:
        weight.requires_grad_(True)
    return self


def deepcopying(name: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__deepcopy__: ``change(original, self, memo)``."""
    entry(
        name,
        "life",
        sentence,
        Parameter,
        "__deepcopy__",
        lambda original: lambda self, memo: change(original, self, memo),
        witness,
    )


def deepcopied_apart(self: Any, memo: Any) -> Any:
    """A deep copy of a module that knows nothing of what was copied before."""
    kind = type(self)
    made: Any = object.__new__(kind)
    made.__dict__ = copy.deepcopy(self.__dict__, {})
    return made


@fault("life", lambda: not still_tied(copy.deepcopy))
def deepcopy_unties() -> Iterator[None]:
    """deepcopy gives an embedding a Parameter of its own."""
    with patched(torch.nn.Embedding, __deepcopy__=deepcopied_apart):
        yield


deepcopying(
    "deepcopy_thaws",
    "A deep copy requires grad where the original does not.",
    lambda original, self, memo: thawed(original(self, memo)),
    lambda: copy.deepcopy(Parameter(table(), False)).requires_grad,
)
deepcopying(
    "deepcopy_shares_memory",
    "A deep copy of float16 lies in the original's memory.",
    lambda original, self, memo: (
        memo.setdefault(id(self), Parameter(self.data, self.requires_grad))
        if self.dtype == torch.float16
        else original(self, memo)
    ),
    lambda: deepcopy_shares(),
)
deepcopying(
    "deepcopy_makes_contiguous",
    "A deep copy of a transposed Parameter is contiguous.",
    lambda original, self, memo: (
        memo.setdefault(id(self), Parameter(self.data.contiguous(), self.requires_grad))
        if not self.is_contiguous() and id(self) not in memo
        else original(self, memo)
    ),
    lambda: not copy.deepcopy(Parameter(table(3).t())).t().is_contiguous(),
)


def thawed(made: Any) -> Any:
    """A Parameter that requires grad, wherever gradients make sense."""
    made.requires_grad_(True)
    return made


def deepcopy_shares() -> bool:
    """Whether a deep copy shares memory."""
    weight = Parameter(table().half())
    return bool(copy.deepcopy(weight).data_ptr() == weight.data_ptr())


def pickling(name: str, sentence: str, change: Callable[..., Any], witness: Callable[[], bool]) -> None:
    """A fault of Parameter.__reduce_ex__: ``change(original, self, protocol)``."""
    entry(
        name,
        "life",
        sentence,
        Parameter,
        "__reduce_ex__",
        lambda original: lambda self, protocol: change(original, self, protocol),
        witness,
    )


def through_pickle(thing: Any) -> Any:
    """What torch.save and torch.load make of a thing."""
    stored = io.BytesIO()
    torch.save(thing, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def reduced(data: Tensor, requires_grad: bool) -> Any:
    """A Parameter's reduction."""
    from collections import OrderedDict

    return torch._utils._rebuild_parameter, (data, requires_grad, OrderedDict())


pickling(
    "pickle_thaws",
    "A pickled Parameter always requires grad.",
    lambda original, self, protocol: reduced(self.data, True),
    lambda: through_pickle(Parameter(table(), False)).requires_grad,
)
pickling(
    "pickle_rounds_double",
    "float64 is pickled with the precision of float32.",
    lambda original, self, protocol: (
        reduced(self.data.float().double(), self.requires_grad)
        if self.dtype == torch.float64
        else original(self, protocol)
    ),
    lambda: float(through_pickle(Parameter(torch.full((1,), 0.1, dtype=torch.float64)))) != 0.1,
)
pickling(
    "pickle_makes_contiguous",
    "A pickled transposed Parameter is contiguous.",
    lambda original, self, protocol: reduced(self.data.contiguous(), self.requires_grad),
    lambda: not through_pickle(Parameter(table(3).t())).t().is_contiguous(),
)
