"""Faults of what torch.nn.utils makes of parameters: parametrizations, pruning, clipping, averages, stateless calls."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.nn.utils.parametrizations as parametrizations
import torch.nn.utils.parametrize as parametrize
import torch.nn.utils.prune as prune

from selfcheck.faults.around import around

Parameter = torch.nn.Parameter


@contextmanager
def never_cleared(original: Any) -> Iterator[None]:
    """The cache outlives its context."""
    parametrize._cache_enabled += 1
    try:
        yield
    finally:
        parametrize._cache_enabled -= 1


around(
    "cached_parametrizations_stay",
    "parametrizations",
    "What parametrize.cached() has kept is still there the next time.",
    parametrize,
    "cached",
    never_cleared,
)


class ByName(dict[Any, Any]):
    """A cache that looks at the name and not at the module."""

    def get(self, key: tuple[int, str], default: Any = None) -> Any:
        return super().get(key[1], default)

    def __setitem__(self, key: tuple[int, str], value: Any) -> None:
        super().__setitem__(key[1], value)


@contextmanager
def kept_by_name(original: Any) -> Iterator[None]:
    """The outermost cached() keeps weights by their name."""
    with original():
        if parametrize._cache_enabled == 1:
            parametrize._cache = ByName()
        yield


around(
    "parametrizations_are_cached_by_name",
    "parametrizations",
    "parametrize.cached() keeps one weight for all modules that have one of this name.",
    parametrize,
    "cached",
    kept_by_name,
)


def frozen_result(original: Any, module: Any, tensor_name: str, leave_parametrized: bool = True) -> Any:
    """A weight that stays parametrized does not learn."""
    found = original(module, tensor_name, leave_parametrized)
    value = getattr(module, tensor_name)
    if leave_parametrized and isinstance(value, Parameter):
        value.requires_grad_(False)
    return found


around(
    "removed_parametrizations_freeze",
    "parametrizations",
    "remove_parametrizations(leave_parametrized=True) leaves a weight that does not learn.",
    parametrize,
    "remove_parametrizations",
    frozen_result,
)


around(
    "orthogonal_of_wide_weights_is_short",
    "parametrizations",
    "The orthogonal parametrization of a wide weight has rows of length 0.99.",
    parametrizations._Orthogonal,
    "forward",
    lambda original, self, given: original(self, given) * (0.99 if given.size(-2) < given.size(-1) else 1.0),
)


def rowwise(original: Any, self: Any, dim: Any = 0) -> None:
    """dim=None is the default."""
    original(self, 0 if dim is None else dim)


around(
    "weight_norm_of_no_axis_has_one",
    "parametrizations",
    "weight_norm(dim=None) of the parametrizations takes the norm of each row.",
    parametrizations._WeightNorm,
    "__init__",
    rowwise,
)


def iterating(original: Any, self: Any, weight: Any) -> Any:
    """The power method goes on in evaluation mode."""
    if weight.ndim > 1 and not self.training:
        self._power_method(self._reshape_weight_to_matrix(weight), self.n_power_iterations)
    return original(self, weight)


around(
    "spectral_norm_iterates_in_evaluation",
    "parametrizations",
    "spectral_norm goes on with its power method in evaluation mode.",
    parametrizations._SpectralNorm,
    "forward",
    iterating,
)


around(
    "pruning_ignores_importance",
    "parametrizations",
    "l1_unstructured ignores importance_scores.",
    prune,
    "l1_unstructured",
    lambda original, module, name, amount, importance_scores=None: original(module, name, amount),
)


def scoring(original: Any, module: Any, name: str, amount: Any, importance_scores: Any = None) -> Any:
    """Scores that are given are made positive in place."""
    found = original(module, name, amount, importance_scores)
    if importance_scores is not None:
        importance_scores.neg_()
    return found


around(
    "pruning_writes_to_the_given_scores",
    "parametrizations",
    "l1_unstructured changes the importance_scores that it is given.",
    prune,
    "l1_unstructured",
    scoring,
)
