"""Faults of torch.nn.init, of first values, and of the construction of tables and linear layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.construction import first_values, seeded
from selfcheck.faults.entry import Embedding
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.modules import Linear
from selfcheck.faults.parameter_corners import Change, spoiled

initialisers: Any = torch.nn.init


def drawn(
    name: str, *given: Any, shape: tuple[int, ...] = (60, 50), dtype: torch.dtype = torch.float32, **flags: Any
) -> Tensor:
    """What an initialiser fills a tensor with, always the same."""
    generator = torch.Generator().manual_seed(0)
    flags = (
        flags
        if name in ("constant_", "ones_", "zeros_", "eye_", "dirac_", "sparse_")
        else flags | {"generator": generator}
    )
    return torch.as_tensor(getattr(initialisers, name)(torch.full(shape, 7.0, dtype=dtype), *given, **flags))


def init(
    name: str, sentence: str, attribute: str, change: Change, witness: Callable[[], bool], family: str = "initializers"
) -> None:
    """A fault of an initialiser: ``change(original, tensor, *arguments)``."""
    spoiled(name, family, sentence, initialisers, attribute, change, witness)


def filled(original: Change, tensor: Tensor, val: float) -> Tensor:
    """constant_ that does nothing for zero."""
    return torch.as_tensor(original(tensor, val)) if val else tensor


def rescaled(original: Change, tensor: Tensor, factor: float, *given: Any, **flags: Any) -> Tensor:
    """An initialiser whose values are scaled in place."""
    made = original(tensor, *given, **flags)
    with torch.no_grad():
        return torch.as_tensor(made.mul_(factor))


init("constant_zero_is_nothing", "constant_(0) does nothing.", "constant_", filled,
     lambda: float(drawn("constant_", 0.0).max()) == 7)  # fmt: skip
init("gain_of_slope_zero", "calculate_gain takes slope 0 for the default.", "calculate_gain",
     lambda original, nonlinearity, param=None: original(nonlinearity, param or None),
     lambda: initialisers.calculate_gain("leaky_relu", 0) != 2**0.5)  # fmt: skip
init("orthogonal_tall", "orthogonal_ of a tall matrix has columns of another length.", "orthogonal_",
     lambda original, tensor, gain=1, generator=None: rescaled(
         original, tensor, 1.25 if tensor.shape[0] > tensor.shape[1] else 1.0, gain, generator=generator),
     lambda: float(drawn("orthogonal_", shape=(2, 1)).norm()) > 1.1)  # fmt: skip
init("sparse_has_more_zeros", "sparse_ zeroes one number too few in each column.", "sparse_",
     lambda original, tensor, sparsity, std=0.01, **more: original(tensor, sparsity - 1 / len(tensor), std, **more),
     lambda: int((drawn("sparse_", 0.5, shape=(4, 1)) == 0).sum()) == 1)  # fmt: skip


# -- first values --------------------------------------------------------------------------------------------------

first_values("first_values_are_wider_by_a_fiftieth", "A table is drawn from N(0, 1.02²).", lambda weight: weight.mul_(1.02),
             lambda: float(seeded(500, 500).std()) > 1.01, "initializers")  # fmt: skip


def reseeded(original: Change, self: Any) -> None:
    """First values that leave the generator where it was."""
    state = torch.get_rng_state()
    original(self)
    torch.set_rng_state(state)


spoiled("first_values_repeat", "initializers", "Two tables made one after another are equal.", Embedding, "reset_parameters",
        reseeded, lambda: torch.equal(Embedding(2, 2).weight, Embedding(2, 2).weight))  # fmt: skip
