"""Faults of modules: what they list, convert, copy, save and load, and of their parametrizations."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from selfcheck.forms import Call, after, afterwards, changes, instead, of_family, refusing
from selfcheck.site import Tensor
from selfcheck.tensor_plans import behind

Module = nn.Module

# -- what a module lists ------------------------------------------------------------------------------------------------


of_family(
    "module_traversal",
    (Module, "named_modules", "A shared module is listed twice.", lambda call: call(remove_duplicate=False)),
    (Module, "named_children", "named_children() comes in reverse.", lambda call: iter(list(call())[::-1])),
)  # fmt: skip


# -- conversions and copies ---------------------------------------------------------------------------------------------


@afterwards(Module, "_apply", "tie_preservation")
def conversion_to_double_unties(call: Call) -> None:
    """double() breaks the tie of a Linear."""
    if isinstance(call.found, nn.Linear) and call.found.weight.dtype == torch.float64:
        call.found.weight = nn.Parameter(call.found.weight.data, call.found.weight.requires_grad)


# -- state_dict and load_state_dict -------------------------------------------------------------------------------------


@afterwards(Module, "_save_to_state_dict", "conversion")
def state_copies_views(call: Call) -> None:
    """state_dict() copies a weight that is a transposed view."""
    if isinstance(call.self, nn.Linear) and not call.self.weight.is_contiguous():
        call.destination[call.prefix + "weight"] = call.destination[call.prefix + "weight"].contiguous()


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


# -- parametrizations ---------------------------------------------------------------------------------------------------


@afterwards(parametrize.ParametrizationList, "__init__", "tie_export")
def parametrized_heads_have_an_original_of_their_own(call: Call) -> None:
    """register_parametrization copies the tensor that it keeps as the original one."""
    tensor: Any = call.given[2]
    if hasattr(call.self, "original") and call.self.original is tensor:
        call.self.original = nn.Parameter(tensor.detach().clone(), tensor.requires_grad)


@instead(parametrize, "register_parametrization", "parametrizations")
def parametrizations_of_evaluated_layers_train(call: Call) -> Any:
    """A parametrization that is registered on a layer in evaluation trains."""
    mode = call.parametrization.training
    module = call()
    call.parametrization.train(mode)
    return module


of_family(
    "parametrizations",
    (parametrize, "register_parametrization", "Registering zeroes what lies behind the weight.",
     after(lambda call: zero_behind(call.module.parametrizations[call.tensor_name].original))),
)  # fmt: skip
