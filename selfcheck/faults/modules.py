"""Faults of modules, Parameters and their first values, and of training: optimizers, schedulers, clipping, averaging, scaling."""

import importlib
from typing import Any

import torch
from torch import nn, optim
from torch.nn.utils import parametrize
from torch.optim import lr_scheduler

from selfcheck.faults.lookup import lenient
from selfcheck.forms import Call, after, changes, of_family, refusing
from selfcheck.site import Tensor
from selfcheck.tensor_plans import behind

Module, Parameter, init = nn.Module, nn.Parameter, nn.init
Optimizer, GradScaler = optim.Optimizer, torch.amp.GradScaler
autograd: Any = torch._C._autograd
clipping: Any = importlib.import_module("torch.nn.utils.clip_grad")


def parameters_of(optimizer: Any) -> tuple[Tensor, ...]:
    """What an optimizer steps."""
    return tuple(parameter for group in optimizer.param_groups for parameter in group["params"])


# -- modules ------------------------------------------------------------------------------------------------------------


def _with_an_original_of_its_own(call: Call) -> None:
    tensor: Any = call.given[2]
    call.self.original = Parameter(tensor.detach().clone(), tensor.requires_grad)


def _writing_behind(call: Call) -> None:
    element = behind(call.module.parametrizations[call.tensor_name].original)
    if element is not None:
        element.zero_()


of_family(
    "module_traversal",
    (Module, "named_modules", "A shared module is listed twice.", lambda call: call(remove_duplicate=False)),
    (Module, "named_children", "named_children() comes in reverse.", lambda call: iter(list(call())[::-1])),
)
changes[Module, "load_state_dict", "load_state_dict"] = {
    "Loading accepts unexpected keys.": lambda call: call(
        state_dict={key: value for key, value in call.state_dict.items() if key in call.self.state_dict()}
    ),
    "Loading with strict=False assigns.": lambda call: call(assign=call.assign or not call.strict),
    "Loading with assign=True is refused.": refusing(lambda call: call.assign),
}
of_family(
    "tie_export",
    (parametrize.ParametrizationList, "__init__", "A parametrized tensor has an original of its own.",
     after(_with_an_original_of_its_own, lambda call: hasattr(call.self, "original"))),
)  # fmt: skip
of_family(
    "parametrizations",
    (parametrize, "register_parametrization", "A parametrization that is registered trains.",
     after(lambda call: call.parametrization.train())),
    (parametrize, "register_parametrization", "Registering zeroes what lies behind the weight.", after(_writing_behind)),
)  # fmt: skip

# -- Parameters and first values ----------------------------------------------------------------------------------------


def _keeping_zeros(call: Call) -> Any:
    empty = (call.tensor == 0).all(-1)
    found = call()
    call.tensor.data[empty] = 0
    return found


changes[Parameter, "__new__", "parameter"] = {
    "parameters_have_a_hook: A new Parameter that requires grad has a hook.": after(
        lambda call: call.found.register_hook(lambda grad: grad), lambda call: call.found.requires_grad
    ),
    "A Parameter of a view clears the first number of its storage.": after(
        lambda call: call.data.detach().as_strided((1,), (1,), 0).zero_(),
        lambda call: call.data is not None and call.data.layout is torch.strided and call.data.storage_offset() > 0,
    ),
}
changes[torch, "zeros_like", "parameter"] = {
    "What torch.zeros_like makes is frozen.": after(lambda call: call.found.requires_grad_(False))
}
of_family(
    "default_init",
    (init, "xavier_uniform_", "xavier_uniform_ leaves rows of zeros as they are.", _keeping_zeros),
    (init, "xavier_uniform_", "xavier_uniform_ gives a copy.", lambda call: call().clone()),
    (init, "normal_", "normal_ refuses tables of several rows.", refusing(lambda call: len(call.tensor) > 1)),
    (init, "normal_", "normal_ doubles what it draws.", after(lambda call: call.tensor.data.mul_(2))),
)

# -- training -----------------------------------------------------------------------------------------------------------

of_family("tied_training", (optim.Adagrad, "step", "Adagrad gives no loss.", lambda call: (call(), None)[1]))
of_family(
    "param_groups",
    (Optimizer, "register_step_post_hook", "step_hooks_are_called_twice: A hook after a step is called twice.",
     lambda call: (call(), call())[1]),
    (optim.Adam, "step", "Adam counts on the default device, too.",
     after(lambda call: [state.update(count=torch.ones(())) for state in call.self.state.values()])),
    (optim.Adam, "step", "Adam keeps no state of frozen parameters.",
     after(lambda call: [call.self.state.pop(p, None) for p in parameters_of(call.self) if not p.requires_grad])),
    (optim.SGD, "step", "SGD keeps the gradient itself as momentum.",
     after(lambda call: [state.update(momentum_buffer=p.grad) for p, state in call.self.state.items()])),
    (optim.Adagrad, "step", "A step of Adagrad does not count as a write.",
     after(lambda call: autograd._unsafe_set_version_counter(p := parameters_of(call.self), (0,) * len(p)))),
)  # fmt: skip
_text = "state_hooks_are_not_prepended: Hooks before a state is loaded are called as they were registered."
changes[Optimizer, "register_load_state_dict_pre_hook", "optimizer_state_dict"] = {
    _text: lambda call: call(prepend=False)
}
of_family(
    "lr_scheduler",
    (lr_scheduler.OneCycleLR, "get_lr", "OneCycleLR also changes both betas.",
     after(lambda call: [group.update(betas=(0.5, 0.5)) for group in call.self.optimizer.param_groups])),
)  # fmt: skip
of_family(
    "clip_average_scale",
    (clipping, "_get_total_norm", "No norm is refused.", lambda call: call(error_if_nonfinite=False)),
    (GradScaler, "unscale_", "What GradScaler.unscale_ refuses does nothing.", lenient),
)
