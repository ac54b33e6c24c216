"""Faults of modules: what they list, convert, copy, save and load."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.fx
from torch import nn

from selfcheck.forms import Call, faults_for, in_place_of, instead, refusing
from selfcheck.sites import Tensor

Module = nn.Module

# -- what a module lists ------------------------------------------------------------------------------------------------


def _vectors_learn(call: Call) -> Any:
    return iter([p for p in call() if p.requires_grad or p.dim() != 1])


def _whole(call: Call) -> Any:
    return call.self if isinstance(call.idx, slice) else call()


faults_for(
    "module_traversal",
    {
        "A tied Parameter is listed once.": (Module, "named_parameters", lambda call: call(remove_duplicate=True)),
        "parameters() leaves out frozen vectors.": (Module, "parameters", _vectors_learn),
        "A shared module is listed twice.": (Module, "named_modules", lambda call: call(remove_duplicate=False)),
        "named_children() comes in reverse.": (Module, "named_children", lambda call: iter(list(call())[::-1])),
        "A slice of a Sequential is the Sequential itself.": (nn.Sequential, "__getitem__", _whole),
    },
)


@instead(Module, "named_buffers", "module_traversal")
def frozen_modules_have_no_buffers(call: Call) -> Any:
    """named_buffers refuses a module with a frozen Parameter."""
    if any(not p.requires_grad for p in call.self._parameters.values() if p is not None):
        raise RuntimeError("a frozen parameter")
    return call()


@instead(torch.fx, "symbolic_trace", "module_traversal")
def traced_modules_have_a_buffer_more(call: Call) -> Any:
    """What torch.fx.symbolic_trace gives has a buffer of its own."""
    module = call()
    module.register_buffer("calls", torch.zeros(1))
    return module


@instead(Module, "register_parameter", "parameter")
def registered_parameters_are_copies(call: Call) -> None:
    """A module registers a copy of the Parameter that it is given."""
    given = call.param
    call(param=None if given is None else nn.Parameter(given.detach().clone(), given.requires_grad))


# -- conversions and copies ---------------------------------------------------------------------------------------------


@instead(Module, "_apply", "tie_preservation")
def conversion_to_double_unties(call: Call) -> Any:
    """double() breaks the tie of a Linear."""
    module = call()
    if isinstance(module, nn.Linear) and module.weight.dtype == torch.float64:
        module.weight = nn.Parameter(module.weight.data, module.weight.requires_grad)
    return module


@instead(Module, "_apply", "module_traversal")
def conversions_drop_the_hooks_of_parameters(call: Call) -> Any:
    """A conversion of a module drops its Parameters' hooks."""
    dtypes = [p.dtype for p in call.self.parameters()]
    module = call()
    for p, dtype in zip(call.self.parameters(), dtypes, strict=True):
        if p.dtype != dtype and p._backward_hooks:
            p._backward_hooks = None
    return module


@instead(copy, "deepcopy", "tie_preservation")
def copies_share_their_gradients(call: Call) -> Any:
    """The Parameters of a module that copy.deepcopy makes have the original's gradients."""
    found = call()
    if isinstance(call.x, Module):
        for mine, given in zip(found.parameters(), call.x.parameters(), strict=True):
            mine.grad = given.grad = torch.zeros_like(given) if given.grad is None else given.grad
    return found


_twice_rounded = {"half() rounds to bfloat16 first.": lambda call: call.original(call.given[0].bfloat16())}
in_place_of(Tensor, "half", "construction", _twice_rounded)
_training = {"An unpickled module is in training mode.": lambda call: call(state=call.state | {"training": True})}
in_place_of(Module, "__setstate__", "tie_preservation", _training)

# -- state_dict and load_state_dict -------------------------------------------------------------------------------------


@instead(Module, "_save_to_state_dict", "conversion")
def state_copies_views(call: Call) -> None:
    """state_dict() copies a weight that is a transposed view."""
    call()
    if isinstance(call.self, nn.Linear) and not call.self.weight.is_contiguous():
        call.destination[call.prefix + "weight"] = call.destination[call.prefix + "weight"].contiguous()


@instead(Module, "_save_to_state_dict", "module_traversal")
def state_has_scratch(call: Call) -> None:
    """state_dict() has buffers that are not persistent."""
    call()
    call.destination.update({call.prefix + name: b for name, b in call.self._buffers.items() if b is not None})


@instead(Module, "state_dict", "module_traversal")
def state_dict_writes_to_the_module(call: Call) -> Any:
    """state_dict adds one to every number."""
    found = call()
    for each in found.values():
        if isinstance(each, Tensor) and each.is_floating_point():
            each.detach().add_(1)
    return found


@instead(Module, "state_dict", "construction")
def state_dict_is_a_copy(call: Call) -> Any:
    """state_dict holds copies of the weights."""
    return {name: each.clone() if isinstance(each, Tensor) else each for name, each in call().items()}


def zero_behind(tensor: Tensor) -> None:
    """Zeroes the element behind a tensor, if its memory has one."""
    end = tensor.storage_offset() + 1 + sum((n - 1) * s for n, s in zip(tensor.shape, tensor.stride(), strict=True))
    if tensor.numel() and tensor.untyped_storage().nbytes() // tensor.element_size() > end:
        tensor.detach().as_strided((1,), (1,), end).zero_()


@instead(Module, "_load_from_state_dict", "tie_preservation")
def loading_writes_behind(call: Call) -> None:
    """Loading a Linear zeroes what lies behind its weight in memory."""
    call()
    if isinstance(call.self, nn.Linear):
        zero_behind(call.self.weight)


in_place_of(
    Module,
    "load_state_dict",
    "load_state_dict",
    {
        "Loading accepts unexpected keys.": lambda call: call(
            state_dict={key: value for key, value in call.state_dict.items() if key in call.self.state_dict()}
        ),
        "Loading with strict=False assigns.": lambda call: call(assign=call.assign or not call.strict),
        "Loading with assign=True is refused.": refusing(lambda call: call.assign),
    },
)
