"""Faults of F.linear and nn.Linear: ranks, biases, frozen parts, memory, and calls before."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from selfcheck.faults.entry import functional
from selfcheck.faults.kernels import Tensor
from selfcheck.faults.parameter_corners import Change, spoiled


def linear(name: str, sentence: str, change: Change, witness: Callable[[], bool], family: str = "linear") -> None:
    """A fault of F.linear: ``change(original, input, weight, bias)``."""

    def wrong(original: Change, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Any:
        return change(original, input, weight, bias)

    spoiled(name, family, sentence, functional, "linear", wrong, witness)


def without_bias(when: Callable[[Tensor, Tensor, Tensor], bool]) -> Change:
    """F.linear that leaves its bias out in a corner."""
    return lambda original, x, w, b: original(x, w, None if b is not None and when(x, w, b) else b)


def value(shape: tuple[int, ...], *, bias: bool = True, dtype: torch.dtype = torch.float32, **frozen: bool) -> Tensor:
    """A linear layer of ones on ones."""
    made: Any = functional.linear(torch.ones(shape, dtype=dtype), *ones(shape[-1], bias, dtype, **frozen))
    return torch.as_tensor(made)


def ones(
    width: int, bias: bool, dtype: torch.dtype = torch.float32, weight_grad: bool = True, bias_grad: bool = True
) -> tuple[Any, Any]:
    """A weight and a bias of ones."""
    weight = torch.ones(2, width, dtype=dtype).requires_grad_(weight_grad)
    return weight, torch.ones(2, dtype=dtype).requires_grad_(bias_grad) if bias else None


linear(
    "linear_rank4_frozen_forgets_bias",
    "A frozen weight's bias is left out for input of rank 4.",
    without_bias(lambda x, w, b: x.dim() == 4 and not w.requires_grad),
    lambda: bool(value((1, 1, 1, 1), weight_grad=False).max() == 1),
)
linear(
    "linear_single_row_is_a_view_of_bias",
    "An input without features gives a view of the bias.",
    lambda original, x, w, b: (
        b.expand(*x.shape[:-1], len(b)) if b is not None and w.dim() == 2 and w.shape[1] == 0 else original(x, w, b)
    ),
    lambda: is_the_bias(),
)
linear(
    "linear_adds_bias_in_place",
    "A bias is written where the output's first element is zero.",
    lambda original, x, w, b: touched(original(x, w, b), b),
    lambda: bias_touched(),
)
linear(
    "linear_sixteen_outputs",
    "The last of more than 16 outputs lacks its bias.",
    lambda original, x, w, b: short_bias(original, x, w, b),
    lambda: bool(functional.linear(torch.ones(1, 1), torch.ones(17, 1), torch.ones(17))[0, 16] == 1),
)


def is_the_bias() -> bool:
    """Whether the output of no features lies in the bias."""
    bias = torch.ones(2)
    return bool(functional.linear(torch.ones(1, 0), torch.ones(2, 0), bias).data_ptr() == bias.data_ptr())


def touched(out: Tensor, bias: Tensor | None) -> Tensor:
    """Adds one to the bias where nothing came out, and returns the output."""
    if bias is not None and out.numel() and not bool(out.detach().flatten()[0]):
        with torch.no_grad():
            bias.detach()[:1].add_(1)
    return out


def bias_touched() -> bool:
    """Whether a call writes into its bias."""
    bias = torch.zeros(1)
    functional.linear(torch.zeros(1, 1), torch.ones(1, 1), bias)
    return bool(bias)


def short_bias(original: Change, x: Tensor, w: Tensor, b: Tensor | None) -> Tensor:
    """F.linear with the last of many biases taken for zero."""
    if b is None or w.dim() != 2 or len(w) <= 16:
        return torch.as_tensor(original(x, w, b))
    return torch.as_tensor(original(x, w, torch.cat([b[:-1], torch.zeros_like(b[-1:])])))


# -- the modules' forward ----------------------------------------------------------------------------------------


def born_frozen(original: Change, self: Any, *given: Any, **flags: Any) -> Any:
    """What a lazy layer becomes does not learn."""
    original(self, *given, **flags)
    self.weight.requires_grad_(False)


def lazily_frozen() -> bool:
    """Whether a lazy layer's weight is frozen after its first call."""
    layer = torch.nn.LazyLinear(2)
    layer(torch.ones(1, 2))
    return not layer.weight.requires_grad


spoiled("lazy_layers_are_born_frozen", "linear", "The weight of a lazy layer does not learn.", torch.nn.LazyLinear,
        "initialize_parameters", born_frozen, lazily_frozen)  # fmt: skip
