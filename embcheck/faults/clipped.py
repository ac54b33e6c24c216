"""Faults of clipping, of averaged models and of modules that are not initialised."""

from __future__ import annotations

import importlib
from typing import Any

import torch
from torch.optim import swa_utils

from embcheck.faults.around import around, pair

Parameter = torch.nn.Parameter
nn_utils = torch.nn.utils
clipping = importlib.import_module("torch.nn.utils.clip_grad")


def infinite_is_fine(
    original: Any, norms: Any, norm_type: float = 2.0, error: bool = False, foreach: Any = None
) -> Any:
    """Only NaN is an error."""
    total = original(norms, norm_type, False, foreach)
    return original(norms, norm_type, error, foreach) if error and total.isnan() else total


def graded(*gradients: torch.Tensor) -> list[Any]:
    """Parameters with these gradients."""
    found = []
    for gradient in gradients:
        weight = Parameter(torch.zeros_like(gradient))
        weight.grad = gradient.clone()
        found.append(weight)
    return found


around(
    "infinite_norms_are_no_error",
    "aftercare",
    "clip_grad_norm_(error_if_nonfinite=True) raises for NaN alone.",
    clipping,
    "_get_total_norm",
    infinite_is_fine,
    lambda: nn_utils.clip_grad_norm_(graded(torch.full((2,), torch.inf)), 1.0, error_if_nonfinite=True),
    applies=lambda: hasattr(clipping, "_get_total_norm"),
)


def exhausted(original: Any, parameters: Any, *given: Any, **flags: Any) -> Any:
    """A generator has nothing left for the second pass over it."""
    if hasattr(parameters, "__next__"):
        listed = list(parameters)
        kept = [None if p.grad is None else p.grad.clone() for p in listed]
        norm = original(listed, *given, **flags)
        for p, gradient in zip(listed, kept, strict=True):
            p.grad = gradient
        return norm
    return original(parameters, *given, **flags)


def clipped_generator() -> Any:
    """Gradients that were clipped by way of a generator."""
    listed = graded(torch.full((2,), 8.0), torch.full((2,), 6.0))
    nn_utils.clip_grad_norm_((p for p in listed), 1.0)
    return [p.grad for p in listed]


around(
    "generators_are_not_clipped",
    "aftercare",
    "clip_grad_norm_ of a generator of Parameters clips nothing.",
    nn_utils,
    "clip_grad_norm_",
    exhausted,
    clipped_generator,
)


def after_clipping(
    original: Any, parameters: Any, max_norm: float, norm_type: float = 2.0, *given: Any, **flags: Any
) -> Any:
    """The norm is that of what is left."""
    norm = original(parameters, max_norm, norm_type, *given, **flags)
    return norm.clamp(max=float(max_norm)) if float(norm_type) == 1.0 else norm


around(
    "norm_after_clipping",
    "aftercare",
    "clip_grad_norm_ with norm_type=1 returns the norm after clipping.",
    nn_utils,
    "clip_grad_norm_",
    after_clipping,
    lambda: nn_utils.clip_grad_norm_(graded(torch.full((2,), 8.0)), 1.0, 1.0),
)


def twice_when_tied(original: Any, self: Any, model: Any) -> None:
    """Both names of a Parameter take part."""
    again = int(self.n_averaged) > 0
    original(self, model)
    own, theirs = (dict(m.named_parameters(remove_duplicate=False)) for m in (self.module, model))
    first = {name for name, _ in self.module.named_parameters()}
    for name in own.keys() - first if again else ():
        own[name].data.lerp_(theirs[name].detach(), 1 / (int(self.n_averaged) + 1))


def averaged() -> Any:
    """The average of a tied weight and one that is three larger."""
    model = pair()
    average: Any = swa_utils.AveragedModel(model)
    average.update_parameters(model)
    with torch.no_grad():
        model["head"].weight.add_(3)
    average.update_parameters(model)
    return average.module["head"].weight


around(
    "ties_are_averaged_twice",
    "aftercare",
    "AveragedModel updates a tied Parameter once for each of its names.",
    swa_utils.AveragedModel,
    "update_parameters",
    twice_when_tied,
    averaged,
)


def skipped_dtype(original: Any, module_cls: Any, *given: Any, **flags: Any) -> Any:
    """dtype is left out."""
    return original(module_cls, *given, **{k: v for k, v in flags.items() if k != "dtype"})


around(
    "skip_init_forgets_dtype",
    "construction",
    "skip_init makes a module of the default dtype.",
    nn_utils,
    "skip_init",
    skipped_dtype,
    lambda: nn_utils.skip_init(torch.nn.Embedding, 2, 2, dtype=torch.float64).weight.dtype,
)
