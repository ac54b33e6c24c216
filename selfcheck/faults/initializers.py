"""Faults of torch.nn.init, of first values, and of the construction of tables and linear layers."""

from __future__ import annotations

from typing import Any

import torch

from selfcheck.faults.construction import first_values
from selfcheck.faults.entry import Embedding
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.parameter_corners import Change, spoiled

initialisers: Any = torch.nn.init


def init(name: str, sentence: str, attribute: str, change: Change, family: str = "initializers") -> None:
    """A fault of an initialiser: ``change(original, tensor, *arguments)``."""
    spoiled(name, family, sentence, initialisers, attribute, change)


def filled(original: Change, tensor: Tensor, val: float) -> Tensor:
    """constant_ that does nothing for zero."""
    return torch.as_tensor(original(tensor, val)) if val else tensor


def rescaled(original: Change, tensor: Tensor, factor: float, *given: Any, **flags: Any) -> Tensor:
    """An initialiser whose values are scaled in place."""
    made = original(tensor, *given, **flags)
    with torch.no_grad():
        return torch.as_tensor(made.mul_(factor))


init("constant_zero_is_nothing", "constant_(0) does nothing.", "constant_", filled)  # fmt: skip
init("gain_of_slope_zero", "calculate_gain takes slope 0 for the default.", "calculate_gain",
     lambda original, nonlinearity, param=None: original(nonlinearity, param or None))  # fmt: skip
init("orthogonal_tall", "orthogonal_ of a tall matrix has columns of another length.", "orthogonal_",
     lambda original, tensor, gain=1, generator=None: rescaled(
         original, tensor, 1.25 if tensor.shape[0] > tensor.shape[1] else 1.0, gain, generator=generator))  # fmt: skip
init("sparse_has_more_zeros", "sparse_ zeroes one number too few in each column.", "sparse_",
     lambda original, tensor, sparsity, std=0.01, **more: original(tensor, sparsity - 1 / len(tensor), std, **more))  # fmt: skip


# -- first values --------------------------------------------------------------------------------------------------

first_values(
    "first_values_are_wider_by_a_fiftieth",
    "A table is drawn from N(0, 1.02²).",
    lambda weight: weight.mul_(1.02),
    "initializers",
)


def reseeded(original: Change, self: Any) -> None:
    """First values that leave the generator where it was."""
    state = torch.get_rng_state()
    original(self)
    torch.set_rng_state(state)


spoiled("first_values_repeat", "initializers", "Two tables made one after another are equal.", Embedding, "reset_parameters",
        reseeded)  # fmt: skip
