"""Faults of modules: what they list, convert, copy, save and load."""

import copy
from typing import Any

import torch
import torch.fx
from torch import nn

from selfcheck.forms import Call, after, afterwards, changes, instead, of_family, refusing
from selfcheck.site import Tensor
from selfcheck.tensor_plans import behind

Module = nn.Module

# -- what a module lists ------------------------------------------------------------------------------------------------


of_family(
    "module_traversal",
    (Module, "named_parameters", "A tied Parameter is listed once.", lambda call: call(remove_duplicate=True)),
    (Module, "parameters", "parameters() leaves out frozen vectors.",
     lambda call: iter([p for p in call() if p.requires_grad or p.dim() != 1])),
    (Module, "named_modules", "A shared module is listed twice.", lambda call: call(remove_duplicate=False)),
    (Module, "named_children", "named_children() comes in reverse.", lambda call: iter(list(call())[::-1])),
    (Module, "to_empty", "to_empty() reaches submodules though it is told not to.", lambda call: call(recurse=True)),
    (nn.ParameterDict, "copy", "copies_of_a_dict_have_clones: A copy of a ParameterDict has clones of the Parameters.",
     lambda call: nn.ParameterDict({key: nn.Parameter(each.detach().clone()) for key, each in call.self.items()})),
    (torch.nn.modules.module, "register_module_parameter_registration_hook",
     "registration_hooks_give_nothing: What a hook of the registration of Parameters returns is ignored.",
     lambda call: call(hook=lambda *given: (call.given[0](*given), None)[1])),
    (torch.fx, "symbolic_trace", "traced_modules_have_a_buffer_more: What torch.fx.symbolic_trace gives has a buffer of its own.",
     after(lambda call: call.found.register_buffer("calls", torch.zeros(1)))),
)  # fmt: skip


@afterwards(Module, "register_parameter", "parameter")
def registering_begins_to_train(call: Call) -> None:
    """Registering a Parameter puts its module into training mode."""
    call.self.training = True


# -- conversions and copies ---------------------------------------------------------------------------------------------


@afterwards(Module, "_apply", "tie_preservation")
def conversion_to_double_unties(call: Call) -> None:
    """double() breaks the tie of a Linear."""
    if isinstance(call.found, nn.Linear) and call.found.weight.dtype == torch.float64:
        call.found.weight = nn.Parameter(call.found.weight.data, call.found.weight.requires_grad)


@instead(Module, "_apply", "module_traversal")
def conversions_drop_the_hooks_of_parameters(call: Call) -> Any:
    """A conversion of a module drops its Parameters' hooks."""
    dtypes = [p.dtype for p in call.self.parameters()]
    module = call()
    for p, dtype in zip(call.self.parameters(), dtypes, strict=True):
        if p.dtype != dtype and p._backward_hooks:
            p._backward_hooks = None
    return module


@afterwards(copy, "deepcopy", "tie_preservation")
def copies_share_their_gradients(call: Call) -> None:
    """The Parameters of a module that copy.deepcopy makes have the original's gradients."""
    if isinstance(call.x, Module):
        for mine, given in zip(call.found.parameters(), call.x.parameters(), strict=True):
            mine.grad = given.grad = torch.zeros_like(given) if given.grad is None else given.grad


@afterwards(Module, "__setstate__", "module_traversal")
def shallow_copies_take_gradients_away(call: Call) -> None:
    """A shallow copy takes the gradients away."""
    for each in call.self._parameters.values():
        if each is not None:
            each.grad = None


# -- state_dict and load_state_dict -------------------------------------------------------------------------------------


@afterwards(Module, "_save_to_state_dict", "conversion")
def state_copies_views(call: Call) -> None:
    """state_dict() copies a weight that is a transposed view."""
    if isinstance(call.self, nn.Linear) and not call.self.weight.is_contiguous():
        call.destination[call.prefix + "weight"] = call.destination[call.prefix + "weight"].contiguous()


@afterwards(Module, "_save_to_state_dict", "module_traversal")
def state_has_scratch(call: Call) -> None:
    """state_dict() has buffers that are not persistent."""
    call.destination.update({call.prefix + name: b for name, b in call.self._buffers.items() if b is not None})


of_family(
    "construction",
    (Tensor, "half", "half() rounds to bfloat16 first.", lambda call: call.original(call.given[0].bfloat16())),
    (Module, "state_dict", "state_dict_is_a_copy: state_dict holds copies of the weights.",
     lambda call: {name: each.clone() if isinstance(each, Tensor) else each for name, each in call().items()}),
)  # fmt: skip


def zero_behind(tensor: Tensor) -> None:
    """Zeroes the element behind a tensor, if its memory has one."""
    element = behind(tensor)
    if element is not None:
        element.zero_()


of_family(
    "tie_preservation",
    (Module, "double", "double() makes frozen Parameters require grad.", lambda call: call().requires_grad_()),
    (Module, "__setstate__", "An unpickled module is in training mode.",
     lambda call: call(state=call.state | {"training": True})),
    (Module, "_load_from_state_dict",
     "loading_writes_behind: Loading a Linear zeroes what lies behind its weight in memory.",
     after(lambda call: zero_behind(call.self.weight), lambda call: isinstance(call.self, nn.Linear))),
)  # fmt: skip
changes[Module, "load_state_dict", "load_state_dict"] = {
    "Loading accepts unexpected keys.": lambda call: call(
        state_dict={key: value for key, value in call.state_dict.items() if key in call.self.state_dict()}
    ),
    "Loading with strict=False assigns.": lambda call: call(assign=call.assign or not call.strict),
    "Loading with assign=True is refused.": refusing(lambda call: call.assign),
}
