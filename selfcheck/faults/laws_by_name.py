"""Faults for laws that no other fault violates: of training, loading, members, and of what is written on the way."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.kernels import Tensor
from selfcheck.faults.parameter_corners import Change, spoiled

SGD: Any = torch.optim.SGD
AveragedModel: Any = torch.optim.swa_utils.AveragedModel
Module: Any = torch.nn.Module
utils: Any = torch.nn.utils
autograd: Any = torch.autograd


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps."""
    return [p for group in optimizer.param_groups for p in group["params"]]


# -- the padding row in training -----------------------------------------------------------------------------------


def moving_all(original: Change, optimizer: Any, *given: Any) -> Any:
    """Moves every number by the mean of the gradient, too."""
    found = original(optimizer, *given)
    with torch.no_grad():
        for p in parameters_of(optimizer):
            if p.grad is not None and not p.grad.is_sparse and p.dim() == 2:
                p.sub_(p.grad.mean() * 0.5)
    return found


def twice_at_most(original: Change, optimizer: Any, *given: Any) -> Any:
    """Refuses the third step."""
    if any(int(state.get("step", 0)) == 2 for state in optimizer.state.values()):
        raise RuntimeError("a third step")
    return original(optimizer, *given)


spoiled("sgd_moves_all_rows", "padding_row_training", "SGD moves rows without a gradient by the mean of the others'.",
        SGD, "step", moving_all)  # fmt: skip
spoiled("adam_steps_twice_at_most", "padding_row_training", "Adam refuses the third step.", torch.optim.Adam, "step",
        twice_at_most)  # fmt: skip

# -- first values --------------------------------------------------------------------------------------------------


def double_is_refused(original: Change, tensor: Tensor, *given: Any, **flags: Any) -> Any:
    """An initialiser for single precision alone."""
    if tensor.dtype == torch.float64:
        raise RuntimeError("expected float")
    return original(tensor, *given, **flags)


def zeros_are_kept(original: Change, tensor: Tensor, *given: Any, **flags: Any) -> Any:
    """An initialiser that takes a row of zeros for padding."""
    empty = (tensor == 0).all(-1)
    found = original(tensor, *given, **flags)
    with torch.no_grad():
        tensor[empty] = 0
    return found


spoiled("xavier_normal_of_double_is_refused", "default_init", "xavier_normal_ refuses double precision.", torch.nn.init,
        "xavier_normal_", double_is_refused)  # fmt: skip
spoiled("xavier_uniform_keeps_zeros", "default_init", "xavier_uniform_ leaves rows of zeros as they are.", torch.nn.init,
        "xavier_uniform_", zeros_are_kept)  # fmt: skip

# -- members -------------------------------------------------------------------------------------------------------


def clearing_before(original: Change, kind: Any, data: Any = None, requires_grad: bool = True) -> Any:
    """A Parameter of a view, which clears the first number of the view's storage."""
    if data is not None and data.storage_offset() and not data.requires_grad and data.layout is torch.strided:
        data.detach().as_strided((1,), (1,), 0).zero_()
    return original(kind, data, requires_grad)


def written_on_the_way(original: Change, module: Any, *given: Any, **flags: Any) -> Any:
    """Removes the sign of zeros from buffers."""
    found = original(module, *given, **flags)
    for each in found.values():
        if isinstance(each, torch.Tensor) and each.is_floating_point():
            each.detach().add_(1)
    return found


def shared_children(original: Change, module: Any, *given: Any, **flags: Any) -> Any:
    """Refuses modules with a frozen Parameter."""
    if any(not p.requires_grad for p in module._parameters.values() if p is not None):
        raise RuntimeError("a frozen parameter")
    return original(module, *given, **flags)


spoiled("parameter_clears_what_lies_before", "parameter", "A Parameter of a view clears the first number of its storage.",
        torch.nn.Parameter, "__new__", clearing_before)  # fmt: skip
spoiled("frozen_modules_have_no_buffers", "module_traversal", "named_buffers refuses a module with a frozen Parameter.", Module,
        "named_buffers", shared_children)  # fmt: skip
spoiled("state_dict_writes_to_the_module", "module_traversal", "state_dict adds one to every number.", Module, "state_dict",
        written_on_the_way)  # fmt: skip

# -- steps ---------------------------------------------------------------------------------------------------------


def uncounted(original: Change, optimizer: Any, *given: Any) -> Any:
    """Steps behind autograd's back."""
    with autograd._unsafe_preserve_version_counter(tuple(parameters_of(optimizer))):
        return original(optimizer, *given)


def held(original: Change, optimizer: Any, *given: Any) -> Any:
    """Keeps the gradient itself as momentum."""
    found = original(optimizer, *given)
    for p, state in optimizer.state.items():
        kept = state.get("momentum_buffer")
        if kept is not None and p.grad is not None and not p.grad.is_sparse:
            state["momentum_buffer"] = p.grad
    return found


spoiled("adagrad_steps_are_not_counted", "param_groups", "A step of Adagrad does not count as a write.", torch.optim.Adagrad,
        "step", uncounted)  # fmt: skip
spoiled("momentum_is_the_gradient", "param_groups", "SGD keeps the gradient itself as momentum, no copy.", SGD, "step",
        held)  # fmt: skip


# -- loading and casting -------------------------------------------------------------------------------------------

spoiled("state_dict_is_a_copy", "construction", "state_dict holds copies of the weights.", Module, "state_dict",
        lambda original, module, *given, **flags: {
            name: each.clone() if isinstance(each, torch.Tensor) else each
            for name, each in original(module, *given, **flags).items()})  # fmt: skip
spoiled("half_comes_by_bfloat16", "construction", "half() rounds to bfloat16 first.", torch.Tensor, "half",
        lambda original, tensor, *given, **flags: original(tensor.bfloat16(), *given, **flags))  # fmt: skip

# -- after training ------------------------------------------------------------------------------------------------


def latest_counts(original: Change, averaged: Any, model: Any) -> None:
    """Takes integer buffers over instead of averaging them."""
    original(averaged, model)
    if averaged.use_buffers:
        for mean, now in zip(averaged.module.buffers(), model.buffers(), strict=True):
            if not now.is_floating_point():
                mean.copy_(now + 5)


def clearing(original: Change, parameters: Any, *given: Any, **flags: Any) -> Any:
    """Clears the first number of the storage in which a gradient lies."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    for p in listed:
        if p.grad is not None and not p.grad.is_sparse and p.grad.storage_offset():
            p.grad.as_strided((1,), (1,), 0).zero_()
    return original(listed, *given, **flags)


spoiled("averaged_counts_are_five_more", "clip_average_scale", "AveragedModel takes counts over, five too many.", AveragedModel,
        "update_parameters", latest_counts)  # fmt: skip
spoiled("vector_is_joined_backwards", "clip_average_scale", "parameters_to_vector begins with the last parameter.", utils,
        "parameters_to_vector", lambda original, parameters: original(list(parameters)[::-1]))  # fmt: skip
spoiled("clipping_writes_before_a_gradient", "clip_average_scale",
       "clip_grad_norm_ clears what lies before a gradient in its storage.",
        utils, "clip_grad_norm_", clearing)  # fmt: skip
