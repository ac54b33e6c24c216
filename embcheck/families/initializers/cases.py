"""A tensor that is filled, as a case, and the distribution or the numbers that should fill it; knows no torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.families.construction.cases import DELTA, Spread, normal_cumulative


class Truncated(NamedTuple):
    """A normal distribution within [low, high]."""

    mean: float
    scale: float
    low: float
    high: float

    def cumulative(self, values: Floats) -> Floats:
        """P(X ≤ x) at each of ``values``."""
        ends = normal_cumulative(np.array([(self.low - self.mean) / self.scale, (self.high - self.mean) / self.scale]))
        inside = normal_cumulative((np.clip(values, self.low, self.high) - self.mean) / self.scale)
        share: Floats = (inside - ends[0]) / (ends[1] - ends[0])
        return share

    def cumulative_in_torch(self, values: str) -> str:
        """The same as an expression of torch."""
        low, high = normal_cumulative(np.array([self.low - self.mean, self.high - self.mean]) / self.scale).tolist()
        inside = f"torch.special.ndtr(({values}.clamp({self.low!r}, {self.high!r}) - {self.mean!r}) / {self.scale!r})"
        return f"({inside} - {low!r}) / {high - low!r}"


#: The gain of a nonlinearity, with the slope of leaky_relu.
GAINS: dict[tuple[Any, ...], float] = {
    ("linear",): 1.0, ("conv1d",): 1.0, ("conv2d",): 1.0, ("conv_transpose3d",): 1.0, ("sigmoid",): 1.0, ("tanh",): 5 / 3,
    ("relu",): math.sqrt(2), ("selu",): 3 / 4, ("leaky_relu",): math.sqrt(2 / 1.0001), ("leaky_relu", None): math.sqrt(2 / 1.0001),
    ("leaky_relu", 0): math.sqrt(2), ("leaky_relu", 2): math.sqrt(2 / 5),
    ("leaky_relu", -0.5): math.sqrt(2 / 1.25), ("relu", 3.0): math.sqrt(2), ("tanh", 0): 5 / 3, ("linear", 0.0): 1.0,
}  # fmt: skip


def _uniform(low: float, high: float) -> Spread:
    return Spread((low + high) / 2, (high - low) / 2, True)


def _kaiming(gain: float, fan: float) -> float:
    return gain / math.sqrt(fan)


#: The distribution by fan_in and fan_out.
Fans = Callable[[float, float], Spread | Truncated]
DISTRIBUTIONS: dict[str, Fans] = {
    "uniform": lambda i, o: _uniform(0.0, 1.0),
    "uniform_wide": lambda i, o: _uniform(-3.0, 1.0),
    "uniform_to_zero": lambda i, o: _uniform(-2.0, 0.0),
    "normal": lambda i, o: Spread(0.0, 1.0, False),
    "embedding": lambda i, o: Spread(0.0, 1.0, False),
    "normal_moved": lambda i, o: Spread(-2.0, 0.5, False),
    "xavier_uniform": lambda i, o: Spread(0.0, math.sqrt(6 / (i + o)), True),
    "xavier_uniform_wide": lambda i, o: Spread(0.0, 4 * math.sqrt(6 / (i + o)), True),
    "xavier_normal": lambda i, o: Spread(0.0, math.sqrt(2 / (i + o)), False),
    "xavier_normal_wide": lambda i, o: Spread(0.0, 4 * math.sqrt(2 / (i + o)), False),
    "kaiming_uniform": lambda i, o: Spread(0.0, math.sqrt(3) * _kaiming(math.sqrt(2), i), True),
    "kaiming_uniform_steep": lambda i, o: Spread(0.0, math.sqrt(3) * _kaiming(math.sqrt(2 / 10), o), True),
    "kaiming_uniform_tanh": lambda i, o: Spread(0.0, math.sqrt(3) * _kaiming(5 / 3, o), True),
    "kaiming_uniform_linear": lambda i, o: Spread(0.0, math.sqrt(3) * _kaiming(1.0, i), True),
    "kaiming_normal": lambda i, o: Spread(0.0, _kaiming(math.sqrt(2), i), False),
    "kaiming_normal_steep": lambda i, o: Spread(0.0, _kaiming(math.sqrt(2 / 10), i), False),
    "kaiming_normal_selu": lambda i, o: Spread(0.0, _kaiming(3 / 4, o), False),
    "kaiming_normal_relu": lambda i, o: Spread(0.0, _kaiming(math.sqrt(2), o), False),
    "truncated": lambda i, o: Truncated(0.0, 1.0, -2.0, 2.0),
    "truncated_narrow": lambda i, o: Truncated(0.25, 1.0, -0.5, 0.75),
    "truncated_beside": lambda i, o: Truncated(1.5, 1.0, -0.5, 0.5),
    "truncated_moved": lambda i, o: Truncated(1.0, 0.5, -1.0, 3.0),
    "linear_weight": lambda i, o: Spread(0.0, 1 / math.sqrt(i), True),
    "linear_reset": lambda i, o: Spread(0.0, 1 / math.sqrt(i), True),
    "linear_bias": lambda i, o: Spread(0.0, 0.5, True),
    "truncated_fine": lambda i, o: Truncated(0.125, 0.0625, 0.0625, 0.1875),
}
CONSTANTS = {"normal_fixed": 0.75, "constant_zero": 0.0, "constant_negative": -2.5, "ones": 1.0, "zeros": 0.0,
             "xavier_uniform_zero": 0.0}  # fmt: skip
#: Those that need a matrix, at least a matrix, or a kernel of a convolution.
MATRICES = frozenset(
    {"eye", "sparse_half", "sparse_tenth", "linear_weight", "linear_reset", "linear_bias", "embedding"}
)
FANNED = frozenset(
    {"orthogonal", "orthogonal_wide", *(name for name in [*DISTRIBUTIONS, *CONSTANTS] if name[:3] in ("xav", "kai"))}
)
KERNELS = frozenset({"dirac", "dirac_of_two"})
SPARSITY = {"sparse_half": 0.5, "sparse_tenth": 0.1}
ORTHOGONAL = {"orthogonal": 1.0, "orthogonal_wide": 3.0}
#: Those that make their numbers with torch's own generator whatever they are given.
WITHOUT_GENERATOR = frozenset({"linear_weight", "linear_reset", "linear_bias", "embedding", "eye", *KERNELS, "ones", "zeros",
                               "constant_zero", "constant_negative"})  # fmt: skip


class _FillingAxes(NamedTuple):
    """The axes, simplest value first."""

    fill: str = "normal"
    shape: tuple[int, ...] = (3, 2)
    dtype: str = "float32"
    layout: str = "contiguous"
    own_generator: bool = False
    trains: bool = True
    #: through a detached view of the Parameter
    detached: bool = False
    #: instead of filling: the table of gains
    gains: bool = False
    seed: int = 0


class InitializerCase(Axes, _FillingAxes):  # type: ignore[misc]
    """A tensor that is filled."""

    @property
    def format(self) -> Format:
        """The number format."""
        return FORMATS[self.dtype]

    @property
    def size(self) -> int:
        """How many numbers are filled in."""
        return math.prod(self.shape)

    @cached_property
    def distribution(self) -> Spread | Truncated | None:
        """Of each number, or None where they are no independent draws."""
        found = DISTRIBUTIONS.get(self.fill)
        field = math.prod(self.shape[2:])
        fans = (self.shape[1] * field, self.shape[0] * field) if len(self.shape) > 1 else (1, 1)
        return None if found is None or not self.size else found(*fans)

    @property
    def exact(self) -> Floats | None:
        """The numbers, where nothing is drawn."""
        made = np.zeros(self.shape)
        if self.fill in CONSTANTS:
            made = made + CONSTANTS[self.fill]
        elif self.fill == "eye":
            made = np.eye(self.shape[0], self.shape[1])
        elif self.fill in KERNELS:
            groups = 2 if self.fill == "dirac_of_two" else 1
            outputs = self.shape[0] // groups
            middle = tuple(length // 2 for length in self.shape[2:])
            for group in range(groups):
                for channel in range(min(outputs, self.shape[1])):
                    made[(group * outputs + channel, channel, *middle)] = 1.0
        else:
            return None
        return made

    def weight_input(self) -> Input:
        """The tensor to fill: sevens, among them what no product with zero removes."""
        return Input(self.format.encode(np.resize([7.0, np.nan, 7.0, np.inf], self.shape)), self.dtype, self.layout)

    def facts(self) -> dict[str, Any]:
        """The axes and: rank, elements, drawn, many (enough for statistics), strided_kernel (rank 3, not contiguous),
        fanless (neither rows nor columns)."""
        drawn = self.distribution is not None
        kernel = len(self.shape) > 2 and self.layout not in ("contiguous", "offset")
        return {
            **self.axes,
            "rank": len(self.shape),
            "elements": self.size,
            "drawn": drawn,
            "many": self.size > 4000,
            "strided_kernel": kernel,
            "fanless": self.shape[:2] == (0, 0),
        }


def allowed_mean(n: int, spread: Spread, many: int = 1) -> float:
    """How far the mean of n draws may be off, in each of so ``many`` samples:

    Sub-Gaussian with σ, or with a uniform's half width (Hoeffding).
    """
    return spread.scale * math.sqrt(2 * math.log(2 * many / DELTA) / n)


def allowed_square(n: int, spread: Spread, many: int = 1) -> float:
    """How far the mean square about the mean may be off: χ² (Laurent and Massart 2000), or bounded (Hoeffding)."""
    x = math.log(2 * many / DELTA)
    if spread.uniform:
        return spread.scale**2 * math.sqrt(x / (2 * n))
    return 2 * spread.scale**2 * (math.sqrt(x / n) + x / n)
