"""Faults for laws that no other fault violates: of training, loading, members, and of what is written on the way."""

from __future__ import annotations

import contextlib
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


def refused(call: Change, *errors: type[Exception]) -> bool:
    """Whether a call raises."""
    with contextlib.suppress(*errors or (RuntimeError, ValueError, KeyError)):
        call()
        return False
    return True


def trained(steps: int = 1, kind: Any = SGD, dtype: torch.dtype = torch.float32, **flags: Any) -> tuple[Tensor, Any]:
    """A Parameter of two ones after steps along the gradient (1, 0), and its optimizer."""
    weight = torch.nn.Parameter(torch.ones(2, dtype=dtype))
    optimizer = kind([weight], lr=0.5, **flags)
    for _ in range(steps):
        weight.grad = torch.tensor([1, 0], dtype=dtype)
        optimizer.step()
    return weight, optimizer


# -- the padding row in training -----------------------------------------------------------------------------------


def moving_all(original: Change, optimizer: Any, *given: Any) -> Any:
    """Moves every number by the mean of the gradient, too."""
    found = original(optimizer, *given)
    with torch.no_grad():
        for p in parameters_of(optimizer):
            if p.grad is not None and not p.grad.is_sparse and p.dim() == 2:
                p.sub_(p.grad.mean() * 0.5)
    return found


def resting(original: Change, optimizer: Any, *given: Any) -> Any:
    """Leaves numbers without a gradient as they are."""
    before = [(p, p.detach().clone(), p.grad) for p in parameters_of(optimizer)]
    found = original(optimizer, *given)
    with torch.no_grad():
        for p, old, grad in before:
            if grad is not None and not grad.is_sparse:
                p.copy_(torch.where(grad == 0, old, p))
    return found


def twice_at_most(original: Change, optimizer: Any, *given: Any) -> Any:
    """Refuses the third step."""
    if any(int(state.get("step", 0)) == 2 for state in optimizer.state.values()):
        raise RuntimeError("a third step")
    return original(optimizer, *given)


def matrix_moves() -> bool:
    weight = torch.nn.Parameter(torch.ones(2, 1))
    weight.grad = torch.tensor([[1.0], [0.0]])
    SGD([weight], lr=0.5).step()
    return bool(weight[1, 0] != 1)


spoiled("sgd_moves_all_rows", "padding_row_training", "SGD moves rows without a gradient by the mean of the others'.",
        SGD, "step", moving_all, matrix_moves)  # fmt: skip
spoiled("sgd_decays_where_it_steps", "padding_row_training", "SGD decays and carries on only where there is a gradient.",
        SGD, "step", resting, lambda: bool(trained(weight_decay=0.5)[0][1] == 1))  # fmt: skip
spoiled("adam_steps_twice_at_most", "padding_row_training", "Adam refuses the third step.", torch.optim.Adam, "step",
        twice_at_most, lambda: refused(lambda: trained(3, torch.optim.Adam)))  # fmt: skip

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
        "xavier_normal_", double_is_refused,
        lambda: refused(lambda: torch.nn.init.xavier_normal_(torch.empty(2, 2, dtype=torch.float64))))  # fmt: skip
spoiled("xavier_uniform_keeps_zeros", "default_init", "xavier_uniform_ leaves rows of zeros as they are.", torch.nn.init,
        "xavier_uniform_", zeros_are_kept,
        lambda: not torch.nn.init.xavier_uniform_(torch.zeros(2, 2)).any())  # fmt: skip

# -- members -------------------------------------------------------------------------------------------------------


def named_with_dots(original: Change, module: Any, name: str, param: Any) -> None:
    """Takes a name with a dot."""
    if "." in name:
        module._parameters[name] = param
    else:
        original(module, name, param)


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


def frozen_layer() -> Any:
    return torch.nn.Linear(1, 1).requires_grad_(False)


def view_clears() -> bool:
    base = torch.ones(3)
    torch.nn.Parameter(base[1:])
    return bool(base[0] == 0)


def state_writes() -> bool:
    layer = torch.nn.Linear(1, 1)
    before = layer.weight.item()
    layer.state_dict()
    return layer.weight.item() != before


spoiled("parameter_clears_what_lies_before", "parameter", "A Parameter of a view clears the first number of its storage.",
        torch.nn.Parameter, "__new__", clearing_before, view_clears)  # fmt: skip
spoiled("names_may_have_dots", "parameter", "register_parameter takes a name with a dot.", Module, "register_parameter",
        named_with_dots,
        lambda: not refused(lambda: Module().register_parameter("a.b", None)))  # fmt: skip
spoiled("frozen_modules_have_no_buffers", "module_traversal", "named_buffers refuses a module with a frozen Parameter.", Module,
        "named_buffers", shared_children, lambda: refused(lambda: list(frozen_layer().buffers())))  # fmt: skip
spoiled("state_dict_writes_to_the_module", "module_traversal", "state_dict adds one to every number.", Module, "state_dict",
        written_on_the_way, state_writes)  # fmt: skip

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


def version_stays() -> bool:
    weight, optimizer = trained()
    before = weight._version
    optimizer.step()
    return weight._version == before


def shares_memory() -> bool:
    weight, optimizer = trained(momentum=0.5)
    assert weight.grad is not None
    return bool(optimizer.state[weight]["momentum_buffer"].data_ptr() == weight.grad.data_ptr())


def hook_is_early() -> bool:
    weight, optimizer = trained(0)
    weight.grad = torch.ones(2)
    seen: list[float] = []
    optimizer.register_step_post_hook(lambda *_: seen.append(weight[0].item()))
    optimizer.step()
    return seen == [1.0]


spoiled("adagrad_steps_are_not_counted", "param_groups", "A step of Adagrad does not count as a write.", torch.optim.Adagrad,
        "step", uncounted,
        lambda: (lambda w: w._version)(trained(3, torch.optim.Adagrad)[0]) == trained(0)[0]._version)  # fmt: skip
spoiled("momentum_is_the_gradient", "param_groups", "SGD keeps the gradient itself as momentum, no copy.", SGD, "step",
        held, shares_memory)  # fmt: skip
spoiled("post_hooks_come_first", "param_groups", "Hooks for after a step are called before it.", torch.optim.Optimizer,
        "register_step_post_hook", lambda original, optimizer, hook: optimizer.register_step_pre_hook(hook),
        hook_is_early)  # fmt: skip

# -- loading and casting -------------------------------------------------------------------------------------------


def without_signs(original: Change, module: Any, state_dict: Any, *given: Any, **flags: Any) -> Any:
    """Loads numbers whose zeros have lost their sign."""
    changed = {name: each + 0.0 if isinstance(each, torch.Tensor) and each.is_floating_point() else each
               for name, each in state_dict.items()}  # fmt: skip
    return original(module, changed, *given, **flags)


def loads_minus_zero() -> bool:
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.load_state_dict({"weight": torch.tensor([[-0.0]])})
    return not torch.signbit(layer.weight).item()


def state_is_copied() -> bool:
    layer = torch.nn.Linear(1, 1)
    return bool(layer.state_dict()["weight"].data_ptr() != layer.weight.data_ptr())


spoiled("loading_loses_negative_zero", "construction", "load_state_dict loses the sign of zero.", Module,
        "load_state_dict", without_signs, loads_minus_zero)  # fmt: skip
spoiled("state_dict_is_a_copy", "construction", "state_dict holds copies of the weights.", Module, "state_dict",
        lambda original, module, *given, **flags: {
            name: each.clone() if isinstance(each, torch.Tensor) else each
            for name, each in original(module, *given, **flags).items()},
        state_is_copied)  # fmt: skip
spoiled("half_comes_by_bfloat16", "construction", "half() rounds to bfloat16 first.", torch.Tensor, "half",
        lambda original, tensor, *given, **flags: original(tensor.bfloat16(), *given, **flags),
        lambda: bool(torch.tensor(1.001).half() == 1))  # fmt: skip

# -- after training ------------------------------------------------------------------------------------------------


def latest_counts(original: Change, averaged: Any, model: Any) -> None:
    """Takes integer buffers over instead of averaging them."""
    original(averaged, model)
    if averaged.use_buffers:
        for mean, now in zip(averaged.module.buffers(), model.buffers(), strict=True):
            if not now.is_floating_point():
                mean.copy_(now + 5)


def infinite_is_no_excess(original: Change, scaler: Any, optimizer: Any, *given: Any) -> Any:
    """Looks for NaN alone."""
    grads = [p.grad for p in parameters_of(optimizer) if p.grad is not None]
    known = not any(bool(torch.isnan(g._values() if g.is_sparse else g).any()) for g in grads)
    found = original(scaler, optimizer, *given)
    for each in found.values() if known else ():
        each.zero_()
    return found


def clearing(original: Change, parameters: Any, *given: Any, **flags: Any) -> Any:
    """Clears the first number of the storage in which a gradient lies."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    for p in listed:
        if p.grad is not None and not p.grad.is_sparse and p.grad.storage_offset():
            p.grad.as_strided((1,), (1,), 0).zero_()
    return original(listed, *given, **flags)


def count_is_averaged() -> bool:
    model = torch.nn.BatchNorm1d(1)
    averaged = AveragedModel(model, use_buffers=True)
    averaged.update_parameters(model)
    return int(averaged.module.num_batches_tracked) != 0


def infinity_is_missed() -> bool:
    weight = torch.nn.Parameter(torch.zeros(1))
    scaler = torch.amp.GradScaler("cpu", init_scale=1.0)
    scaler.scale(torch.zeros(()))
    weight.grad = torch.full((1,), torch.inf)
    found = scaler._unscale_grads_(SGD([weight], lr=1.0), torch.ones(1), torch.zeros(1), True)
    return not any(float(each) for each in found.values())


def gradient_clears() -> bool:
    weight = torch.nn.Parameter(torch.ones(2))
    memory = torch.ones(3)
    weight.grad = memory[1:]
    utils.clip_grad_norm_([weight], 9.0)
    return bool(memory[0] == 0)


spoiled("averaged_counts_are_five_more", "clip_average_scale", "AveragedModel takes counts over, five too many.", AveragedModel,
        "update_parameters", latest_counts, count_is_averaged)  # fmt: skip
spoiled("infinity_is_no_excess", "clip_average_scale", "GradScaler leaves out steps for NaN alone.", torch.amp.GradScaler,
        "_unscale_grads_", infinite_is_no_excess, infinity_is_missed)  # fmt: skip
spoiled("vector_is_joined_backwards", "clip_average_scale", "parameters_to_vector begins with the last parameter.", utils,
        "parameters_to_vector", lambda original, parameters: original(list(parameters)[::-1]),
        lambda: utils.parameters_to_vector([torch.zeros(1), torch.ones(1)]).tolist() == [1, 0])  # fmt: skip
spoiled("clipping_writes_before_a_gradient", "clip_average_scale",
       "clip_grad_norm_ clears what lies before a gradient in its storage.",
        utils, "clip_grad_norm_", clearing, gradient_clears)  # fmt: skip
