"""Faults of clipping, of flattened parameters, of averaged models and of modules that are not initialised."""

from __future__ import annotations

import functools
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


def by_rows(original: Any, parameters: Any, *given: Any, **flags: Any) -> None:
    """Gradients that do not lie row by row are left."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    original([p for p in listed if p.grad is None or p.grad.is_contiguous()], *given, **flags)


def clipped_columns() -> Any:
    """Column-major gradients that were clipped by value."""
    listed = graded(torch.full((2, 3), 8.0).t())
    nn_utils.clip_grad_value_(listed, 1.0)
    return listed[0].grad


around(
    "gradients_by_columns_are_not_clipped",
    "aftercare",
    "clip_grad_value_ passes over gradients that are not contiguous.",
    nn_utils,
    "clip_grad_value_",
    by_rows,
    clipped_columns,
)


def its_rows(original: Any, parameters: Any, *given: Any, **flags: Any) -> Any:
    """A matrix is taken for a list of its rows, which have no gradients."""
    if isinstance(parameters, torch.Tensor) and parameters.dim() > 1:
        return original([row.detach() for row in parameters], *given, **flags)
    return original(parameters, *given, **flags)


def clipped_alone(name: str) -> Any:
    """The gradient of a matrix that was given by itself."""
    listed = graded(torch.full((2, 2), 8.0))
    getattr(nn_utils, name)(listed[0], 1.0)
    return listed[0].grad


for _name in ("clip_grad_norm_", "clip_grad_value_"):
    around(
        f"{_name.removesuffix('_')}_of_the_rows_of_one",
        "aftercare",
        f"{_name} of a matrix that is not in a list clips its rows' gradients, which have none.",
        nn_utils,
        _name,
        its_rows,
        lambda name=_name: clipped_alone(name),  # type: ignore[misc]
    )


def own_norm(original: Any, parameters: Any, max_norm: float, total_norm: Any, foreach: Any = None) -> None:
    """The norm that is given gives way to that of the gradients."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    own = nn_utils.get_total_norm([p.grad for p in listed if p.grad is not None])
    original(listed, max_norm, own, foreach)


def clipped_by_norm() -> Any:
    """Gradients that were clipped by a norm of eight."""
    listed = graded(torch.ones(2))
    nn_utils.clip_grads_with_norm_(listed, 1.0, torch.tensor(8.0))
    return listed[0].grad


around(
    "given_norms_are_ignored",
    "aftercare",
    "clip_grads_with_norm_ takes the gradients' own norm for the one that it is given.",
    nn_utils,
    "clip_grads_with_norm_",
    own_norm,
    clipped_by_norm,
    applies=lambda: hasattr(nn_utils, "clip_grads_with_norm_"),
)


def as_they_lie(original: Any, vector: Any, parameters: Any) -> None:
    """Numbers are dealt out to a column-major matrix in the order of its memory."""
    listed = list(parameters)
    crossed = [p.dim() == 2 and not p.is_contiguous() and p.mT.is_contiguous() for p in listed]
    original(vector, listed)
    for p, by_columns in zip(listed, crossed, strict=True):
        if by_columns:
            p.data = p.data.reshape(p.mT.shape).mT


def dealt_columns() -> Any:
    """A column-major matrix to which a vector was dealt out."""
    weight = Parameter(torch.zeros(3, 2).t())
    nn_utils.vector_to_parameters(torch.arange(6.0), [weight])
    return weight


around(
    "vectors_are_dealt_out_by_columns",
    "aftercare",
    "vector_to_parameters fills column-major parameters column by column.",
    nn_utils,
    "vector_to_parameters",
    as_they_lie,
    dealt_columns,
)


def begun_anew(original: Any, self: Any, state: Any, *given: Any, **flags: Any) -> Any:
    """A loaded average that counts from zero."""
    found = original(self, state, *given, **flags)
    for module in self.modules():
        if isinstance(module, swa_utils.AveragedModel):
            module.n_averaged.zero_()
    return found


def loaded_average() -> int:
    """How many models are in an average that was loaded."""
    model = pair()
    one: Any = swa_utils.AveragedModel(model)
    other: Any = swa_utils.AveragedModel(model)
    one.update_parameters(model)
    other.load_state_dict(one.state_dict())
    return int(other.n_averaged)


around(
    "loaded_averages_count_from_zero",
    "aftercare",
    "An AveragedModel that loaded a state takes the next model for its first.",
    torch.nn.Module,
    "load_state_dict",
    begun_anew,
    loaded_average,
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


def only_trained(original: Any, parameters: Any, *given: Any, **flags: Any) -> Any:
    """What is frozen is passed over."""
    listed = [parameters] if isinstance(parameters, torch.Tensor) else list(parameters)
    return original([p for p in listed if p.requires_grad], *given, **flags)


def clipped_while_frozen(name: str) -> Any:
    """The gradients of two Parameters that were clipped after the first was frozen."""
    listed = graded(torch.full((2,), 8.0), torch.full((2,), 6.0))
    listed[0].requires_grad_(False)
    getattr(nn_utils, name)(listed, 1.0)
    return [p.grad for p in listed]


for _name in ("clip_grad_value_", "clip_grad_norm_"):
    around(
        f"{_name}passes_over_frozen",
        "aftercare",
        f"{_name} passes over the gradients of frozen Parameters.",
        nn_utils,
        _name,
        only_trained,
        functools.partial(clipped_while_frozen, _name),
    )
