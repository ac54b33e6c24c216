"""Faults of training: optimizers and their states, learning-rate schedulers, clipping, averaging and scaling."""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import optim
from torch.optim import lr_scheduler

from selfcheck.fault import patched
from selfcheck.faults.modules import zero_behind
from selfcheck.forms import Call, after, afterwards, changes, instead, of_family, refusing
from selfcheck.site import Tensor

clipping: Any = importlib.import_module("torch.nn.utils.clip_grad")
swa_utils: Any = importlib.import_module("torch.optim.swa_utils")
AveragedModel = swa_utils.AveragedModel
autograd: Any = torch.autograd
adagrad, adam, lbfgs, sgd = (
    importlib.import_module(f"torch.optim.{name}") for name in ("adagrad", "adam", "lbfgs", "sgd")
)
Optimizer, GradScaler = optim.Optimizer, torch.amp.GradScaler


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


# -- steps --------------------------------------------------------------------------------------------------------------


@afterwards(optim.SGD, "step", "padding_row_training")
def sgd_moves_all_rows(call: Call) -> None:
    """SGD moves rows without a gradient by the mean of the others'."""
    for p in parameters_of(call.self):
        if p.grad is not None and not p.grad.is_sparse and p.dim() == 2:
            p.data.sub_(p.grad.mean() * 0.5)


@instead(optim.Adagrad, "step", "tied_training")
def adagrad_calls_its_closure_twice(call: Call) -> Any:
    """Adagrad calls its closure twice."""
    closure = call.closure
    return call(closure=closure if closure is None else lambda: (closure(), closure())[1])


@afterwards(optim.Adam, "step", "tied_training")
def adam_keeps_its_state_in_double(call: Call) -> None:
    """After a step of Adam the tensors of its state are float64."""
    for state in call.self.state.values():
        state.update({name: held.double() for name, held in state.items() if torch.is_tensor(held) and held.dim()})


@afterwards(optim.Adam, "step", "param_groups")
def adam_counts_on_the_default_device(call: Call) -> None:
    """After a step of Adam its state has a count that lies on the default device."""
    for state in call.self.state.values():
        state["count"] = torch.ones(())


@afterwards(optim.SGD, "step", "param_groups")
def sgd_freezes_what_it_steps(call: Call) -> None:
    """After a step of SGD its parameters do not require grad."""
    for parameter in parameters_of(call.self):
        parameter.requires_grad_(False)


of_family(
    "param_groups",
    (optim.AdamW, "step", "closure_without_gradients: AdamW calls its closure without gradients.",
     lambda call: call(closure=None if call.closure is None else torch.no_grad()(call.closure))),
    (Optimizer, "register_step_post_hook", "step_hooks_are_called_twice: A hook after a step is called twice.",
     lambda call: (call(), call())[1]),
)  # fmt: skip
changes[Optimizer, "register_load_state_dict_pre_hook", "optimizer_state_dict"] = {
    "state_hooks_are_not_prepended: Hooks before a state is loaded are called as they were registered.":
        lambda call: call(prepend=False)
}  # fmt: skip


@instead(optim.Adam, "step", "param_groups")
def frozen_with_gradient_rests(call: Call) -> Any:
    """Adam leaves frozen parameters that have a gradient."""
    kept = [(p, p.grad) for p in parameters_of(call.self) if not p.requires_grad and p.grad is not None]
    for p, _ in kept:
        p.grad = None
    found = call()
    for p, grad in kept:
        p.grad = grad
    return found


@instead(optim.Adagrad, "step", "param_groups")
def adagrad_steps_are_not_counted(call: Call) -> Any:
    """A step of Adagrad does not count as a write."""
    with autograd._unsafe_preserve_version_counter(tuple(parameters_of(call.self))):
        return call()


@afterwards(optim.SGD, "step", "param_groups")
def momentum_is_the_gradient(call: Call) -> None:
    """SGD keeps the gradient itself as momentum, no copy."""
    for p, state in call.self.state.items():
        if state.get("momentum_buffer") is not None and p.grad is not None and not p.grad.is_sparse:
            state["momentum_buffer"] = p.grad


@instead(lbfgs, "_strong_wolfe", "tied_training")
def lbfgs_takes_the_first_length(call: Call) -> Any:
    """LBFGS with strong_wolfe takes the first length that it tries."""
    return (*call.obj_func(call.x, call.t, call.d), call.t, 1)


@afterwards(sgd, "_single_tensor_sgd", "tied_training")
def sgd_moves_absent_rows(call: Call) -> None:
    """A step of plain SGD moves rows without a gradient a little."""
    for p, grad in zip(call.params, call.grads, strict=True):
        if not grad.is_sparse and p.dim() == 2:
            p.data.copy_(torch.where(grad == 0, p * (1 - 2.0**-10), p))


@afterwards(sgd, "_single_tensor_sgd", "tied_training")
def sgd_writes_behind(call: Call) -> None:
    """A step of plain SGD zeroes what lies behind a parameter."""
    for p in call.params:
        zero_behind(p)


@instead(adagrad, "_multi_tensor_adagrad", "param_groups")
def adagrad_counts_the_steps_of_the_first(call: Call) -> None:
    """Foreach Adagrad takes the first parameter's count of steps for that of all."""
    counts = [count.clone() for count in call.state_steps]
    for count in call.state_steps[1:]:
        count.copy_(call.state_steps[0])
    call()
    for now, before in zip(call.state_steps, counts, strict=True):
        now.copy_(before + 1)


# -- states -------------------------------------------------------------------------------------------------------------


@instead(Optimizer, "load_state_dict", "tied_training")
def load_keeps_the_rate(call: Call) -> None:
    """load_state_dict keeps the learning rate that is set."""
    rates = [group["lr"] for group in call.self.param_groups]
    call()
    for group, rate in zip(call.self.param_groups, rates, strict=True):
        group["lr"] = rate


@afterwards(Optimizer, "load_state_dict", "param_groups")
def loading_takes_the_last_rate(call: Call) -> None:
    """load_state_dict gives all groups the last one's rate."""
    for group in call.self.param_groups:
        group["lr"] = call.self.param_groups[-1]["lr"]


@afterwards(Optimizer, "load_state_dict", "optimizer_state_dict")
def loaded_counts_are_one_tensor(call: Call) -> None:
    """Optimizer.load_state_dict() gives all parameters with one count of steps the same tensor."""
    states = [each for each in call.self.state.values() if isinstance(each, dict)]
    first, *others = [each for each in states if isinstance(each.get("step"), Tensor)] or [{}]
    for each in others:
        if torch.equal(each["step"], first["step"]):
            each["step"] = first["step"]


@instead(Optimizer, "state_dict", "optimizer_state_dict")
def reading_a_state_clears_frozen_gradients(call: Call) -> Any:
    """Optimizer.state_dict() clears the gradients of frozen parameters."""
    for p in parameters_of(call.self):
        p.grad = p.grad if p.requires_grad else None
    return call()


changes[Optimizer, "load_state_dict", "optimizer_state_dict"] = {
    "names_are_lost_in_loading: A loaded optimizer does not know the names of its parameters.": after(
        lambda call: [group.pop("param_names", None) for group in call.self.param_groups]
    )
}
changes[Optimizer, "state_dict", "optimizer_state_dict"] = {
    "states_are_numbered_without_gaps: Optimizer.state_dict() numbers the states one after the other, whatever "
    "parameters have one.": after(lambda call: call.found.update(state=dict(enumerate(call.found["state"].values()))))
}


@instead("torch.distributed.checkpoint.state_dict", "get_model_state_dict", "optimizer_state_dict")
def ignoring_frozen_parameters_ignores_ties(call: Call) -> Any:
    """A model's state without frozen parameters has one name of each of the others."""
    found = call()
    if call.options is None or not call.options.ignore_frozen_params:
        return found
    once = {name for name, _ in call.model.named_parameters()}
    return {name: value for name, value in found.items() if name in once}


# -- learning rates -----------------------------------------------------------------------------------------------------


def _late(call: Call) -> Any:
    with patched(call.self, last_epoch=max(call.self.last_epoch - 1, 0)):
        return call()


def _without(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def _of_the_first(call: Call) -> None:
    model, *others = call.self.optimizer.param_groups
    for group in others if call.self.last_epoch > 0 and "betas" in model else ():
        group["betas"] = (group["betas"][0], *model["betas"][1:])


of_family(
    "lr_scheduler",
    (lr_scheduler.StepLR, "get_lr", "StepLR steps one epoch late.", _late),
    (lr_scheduler.StepLR, "get_lr", "StepLR is refused.", refusing()),
    (lr_scheduler.LRScheduler, "state_dict", "A scheduler's state lacks the rates at first.",
     lambda call: _without("base_lrs", call())),
    (lr_scheduler.LRScheduler, "load_state_dict", "A scheduler's state loses its epoch.",
     lambda call: call(state_dict=_without("last_epoch", call.state_dict))),
    (lr_scheduler.OneCycleLR, "get_lr", "OneCycleLR gives all groups the first one's second beta.", after(_of_the_first)),
    (lr_scheduler.MultiStepLR, "get_lr", "MultiStepLR drops reached milestones.",
     after(lambda call: call.self.milestones.pop(call.self.last_epoch, None), lambda call: call.self.last_epoch > 0)),
)  # fmt: skip

# -- clipping, averaging, scaling ---------------------------------------------------------------------------------------


def _clearing(call: Call) -> Any:
    listed = [call.parameters] if isinstance(call.parameters, Tensor) else list(call.parameters)
    for p in listed:
        if p.grad is not None and not p.grad.is_sparse and p.grad.storage_offset():
            p.grad.as_strided((1,), (1,), 0).zero_()
    return call(parameters=listed)


def _infinite_is_fine(call: Call) -> Any:
    total = call(error_if_nonfinite=False)
    return call() if call.error_if_nonfinite and total.isnan() else total


def _counting(call: Call) -> None:
    for mean, now in zip(call.self.module.buffers(), call.model.buffers(), strict=True):
        if call.self.use_buffers and not now.is_floating_point():
            mean.copy_(now + 5)


def _unscaled_again(call: Call) -> None:
    state = call.self._per_optimizer_states[id(call.optimizer)]["stage"]
    if not call.self._enabled or state is not torch.amp.grad_scaler.OptState.UNSCALED:
        call()


of_family(
    "clip_average_scale",
    (torch.nn.utils, "clip_grad_norm_", "Clipping to 0 does nothing.", lambda call: call(max_norm=call.max_norm or 1e30)),
    (torch.nn.utils, "clip_grad_norm_", "Clipping clears what lies before a gradient in its storage.", _clearing),
    (clipping, "_get_total_norm", "error_if_nonfinite is for NaN alone.", _infinite_is_fine),
    (torch.nn.utils, "parameters_to_vector", "A vector begins with the last parameter.",
     lambda call: call(parameters=list(call.parameters)[::-1])),
    (AveragedModel, "update_parameters", "AveragedModel takes counts over, five too many.", after(_counting)),
    (swa_utils, "update_bn", "update_bn leaves a model in training mode.", after(lambda call: call.model.train())),
    (AveragedModel, "__init__", "AveragedModel ignores use_buffers.", lambda call: call(use_buffers=False)),
    (GradScaler, "update", "A scale does not grow.", lambda call: call(new_scale=call.self._scale.clone())),
    (GradScaler, "unscale_", "GradScaler.unscale_ of what is unscaled does nothing.", _unscaled_again),
)  # fmt: skip
