"""Faults of training: optimizers and their states, learning-rate schedulers, clipping, averaging and scaling."""

import importlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import optim
from torch.optim import lr_scheduler

from selfcheck.forms import Call, after, afterwards, changes, instead, of_family, refusing
from selfcheck.site import Tensor

clipping: Any = importlib.import_module("torch.nn.utils.clip_grad")
swa_utils: Any = importlib.import_module("torch.optim.swa_utils")
AveragedModel = swa_utils.AveragedModel
autograd: Any = torch.autograd
Optimizer, GradScaler = optim.Optimizer, torch.amp.GradScaler


def parameters_of(optimizer: Any) -> list[Tensor]:
    """What an optimizer steps."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


# -- steps --------------------------------------------------------------------------------------------------------------


@instead(optim.Adagrad, "step", "tied_training")
def adagrad_calls_its_closure_twice(call: Call) -> Any:
    """Adagrad calls its closure twice."""
    closure = call.closure
    return call(closure=closure if closure is None else lambda: (closure(), closure())[1])


@afterwards(optim.Adam, "step", "param_groups")
def adam_counts_on_the_default_device(call: Call) -> None:
    """After a step of Adam its state has a count that lies on the default device."""
    for state in call.self.state.values():
        state["count"] = torch.ones(())


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


# -- states -------------------------------------------------------------------------------------------------------------


@instead(Optimizer, "load_state_dict", "tied_training")
def load_keeps_the_rate(call: Call) -> None:
    """load_state_dict keeps the learning rate that is set."""
    rates = [group["lr"] for group in call.self.param_groups]
    call()
    for group, rate in zip(call.self.param_groups, rates, strict=True):
        group["lr"] = rate


@afterwards(Optimizer, "load_state_dict", "optimizer_state_dict")
def loaded_counts_are_one_tensor(call: Call) -> None:
    """Optimizer.load_state_dict() gives all parameters with one count of steps the same tensor."""
    states = [each for each in call.self.state.values() if isinstance(each, dict)]
    first, *others = [each for each in states if isinstance(each.get("step"), Tensor)] or [{}]
    for each in others:
        if torch.equal(each["step"], first["step"]):
            each["step"] = first["step"]


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


def _without(name: str, state: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in state.items() if key != name}


def _of_the_first(call: Call) -> None:
    model, *others = call.self.optimizer.param_groups
    for group in others if call.self.last_epoch > 0 and "betas" in model else ():
        group["betas"] = (group["betas"][0], *model["betas"][1:])


of_family(
    "lr_scheduler",
    (lr_scheduler.StepLR, "get_lr", "StepLR is refused.", refusing()),
    (lr_scheduler.LRScheduler, "load_state_dict", "A scheduler's state loses its epoch.",
     lambda call: call(state_dict=_without("last_epoch", call.state_dict))),
    (lr_scheduler.OneCycleLR, "get_lr", "OneCycleLR gives all groups the first one's second beta.", after(_of_the_first)),
)  # fmt: skip

# -- clipping, averaging, scaling ---------------------------------------------------------------------------------------


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
    (clipping, "_get_total_norm", "error_if_nonfinite is for NaN alone.", _infinite_is_fine),
    (AveragedModel, "update_parameters", "AveragedModel takes counts over, five too many.", after(_counting)),
    (swa_utils, "update_bn", "update_bn leaves a model in training mode.", after(lambda call: call.model.train())),
    (GradScaler, "update", "A scale does not grow.", lambda call: call(new_scale=call.self._scale.clone())),
    (GradScaler, "unscale_", "GradScaler.unscale_ of what is unscaled does nothing.", _unscaled_again),
)  # fmt: skip
