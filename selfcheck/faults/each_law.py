"""Faults for laws that no other fault is seen to violate: a small one for each."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import nn
from torch.nn import init
from torch.nn.utils import parametrize

from selfcheck.forms import Call, after, faults_for, instead, refusing

F = nn.functional


def tensors(call: Call, change: Any) -> None:
    """Changes the tensors in an optimizer's state that have axes."""
    for state in call.self.state.values():
        state.update({name: change(held) for name, held in state.items() if torch.is_tensor(held) and held.dim()})


def starts(call: Call) -> None:
    """The first number of the weight's storage is written, where that begins before the weight."""
    weight = call.module.parametrizations[call.tensor_name].original
    if weight.storage_offset():
        torch.empty(0, dtype=weight.dtype).set_(weight.untyped_storage())[0] = 7


faults_for(
    "default_init",
    {
        "normal_ refuses tables of several rows.": (init, "normal_", refusing(lambda call: len(call.tensor) > 1)),
        "normal_ doubles what it draws.": (init, "normal_", after(lambda call: call.tensor.data.mul_(2))),
        "xavier_uniform_ gives a copy.": (init, "xavier_uniform_", lambda call: call().clone()),
    },
)
faults_for("clip_average_scale", {"clip_grad_norm_ is refused.": (nn.utils, "clip_grad_norm_", refusing(bool))})
faults_for(
    "load_state_dict", {"assign=True is refused.": (nn.Module, "load_state_dict", refusing(lambda call: call.assign))}
)
faults_for("lr_scheduler", {"StepLR tells no rate.": (torch.optim.lr_scheduler.StepLR, "get_lr", refusing(bool))})
faults_for(
    "parametrizations",
    {
        "No module takes a parametrization.": (parametrize, "register_parametrization", refusing(bool)),
        "A parametrization writes before the weight.": (parametrize, "register_parametrization", after(starts)),
    },
)
faults_for(
    "dtypes_and_storage",
    {"Complex tables are refused.": (F, "embedding", refusing(lambda call: call.weight.is_complex()))},
)
faults_for(
    "nested_tensor", {"Nested tokens are refused.": (F, "embedding", refusing(lambda call: call.input.is_nested))}
)


@instead(F, "embedding", "dtypes_and_storage")
def rows_come_last_axis_first(call: Call) -> Any:
    """The rows that were looked up lie in memory with their last axis first."""
    found = call()
    return found.transpose(0, -1).contiguous().transpose(0, -1)


@instead(F, "embedding", "gradient_routes")
def rows_are_negated_on_each_route(call: Call) -> Any:
    """A lookup gives the negated rows."""
    return -call()


@instead(F, "embedding", "func_transforms")
def rows_are_negated_under_transforms(call: Call) -> Any:
    """A lookup gives the negated rows."""
    return -call()


@instead(F, "embedding", "func_transforms")
def rows_are_double_under_transforms(call: Call) -> Any:
    """A lookup gives its rows in double precision."""
    return call().double()


@instead(copy, "deepcopy", "tie_preservation")
def a_copy_shares_the_original_s_gradients(call: Call) -> Any:
    """The Parameters of a module that copy.deepcopy makes have the original's gradients."""
    found = call()
    if isinstance(call.x, nn.Module):
        for mine, given in zip(found.parameters(), call.x.parameters(), strict=True):
            mine.grad = given.grad = torch.zeros_like(given) if given.grad is None else given.grad
    return found


@instead(torch.optim.Adam, "step", "tied_training")
def adam_keeps_its_state_in_double(call: Call) -> Any:
    """After a step of Adam its state is float64."""
    found = call()
    tensors(call, lambda held: held.double())
    return found


@instead(torch.optim.Adam, "step", "param_groups")
def adam_counts_on_the_default_device(call: Call) -> Any:
    """After a step of Adam its state has a count that lies on the default device."""
    found = call()
    for state in call.self.state.values():
        state["count"] = torch.ones(())
    return found


@instead(torch.optim.SGD, "step", "param_groups")
def sgd_freezes_what_it_moves(call: Call) -> Any:
    """After a step of SGD its parameters do not require grad."""
    found = call()
    for group in call.self.param_groups:
        for parameter in group["params"]:
            parameter.requires_grad_(False)
    return found


@instead(nn.Parameter, "__new__", "parameter")
def a_parameter_has_a_hook(call: Call) -> Any:
    """A new Parameter that requires grad has a hook."""
    made = call()
    if made.requires_grad:
        made.register_hook(lambda grad: grad)
    return made


@instead(nn.Parameter, "__reduce_ex__", "parameter")
def a_saved_parameter_has_no_attributes(call: Call) -> Any:
    """What pickle makes of a Parameter has none of its attributes."""
    kept = dict(vars(call.self))
    vars(call.self).clear()
    try:
        return call()
    finally:
        vars(call.self).update(kept)


@instead(nn.Module, "register_parameter", "parameter")
def a_registered_parameter_is_a_copy(call: Call) -> None:
    """A module registers a copy of the Parameter that it is given."""
    given = call.param
    call(param=None if given is None else nn.Parameter(given.detach().clone(), given.requires_grad))


@instead(F, "cross_entropy", "tied_head_loss")
def a_loss_is_counted_twice(call: Call) -> Any:
    """cross_entropy gives twice the loss."""
    return 2 * call()
