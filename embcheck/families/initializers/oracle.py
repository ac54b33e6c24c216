"""Initializers of torch.nn.init as a table: what each is called with, and the numbers that it gives.  Knows no torch."""

import math
from collections.abc import Callable
from functools import lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np

from embcheck.core.format import Floats, Format
from embcheck.core.outcome import Field
from embcheck.core.result import Difference, Finding, Holds

#: The probability that a correct generator fails one statistical law on one case.  Some hundred cases are judged in a
#: run, so that a run fails wrongly with a probability below 1e-9.
DELTA = 1e-13


class Spread(NamedTuple):
    """A distribution: the mean, and either a half width (uniform) or a standard deviation (normal), which may be cut off
    outside of ``within``."""

    mean: float
    scale: float
    uniform: bool
    within: tuple[float, float] | None = None

    @property
    def limits(self) -> tuple[float, float]:
        reach = self.scale if self.uniform else math.inf
        return self.within or (self.mean - reach, self.mean + reach)

    @property
    def _ends(self) -> list[float]:
        """How much of the whole normal distribution lies below each end of ``within``."""
        ends: list[float] = normal_cumulative((np.array(self.within) - self.mean) / self.scale).tolist()
        return ends

    def cumulative(self, values: Floats) -> Floats:
        z = (values - self.mean) / self.scale
        if self.uniform:
            return np.clip((z + 1) / 2, 0.0, 1.0)
        if self.within is None:
            return normal_cumulative(z)
        low, high = self._ends
        return (normal_cumulative((values.clip(*self.within) - self.mean) / self.scale) - low) / (high - low)

    def cumulative_in_torch(self, values: str) -> str:
        if self.within is None:
            z = f"({values} - {self.mean!r}) / {self.scale!r}"
            return f"(({z} + 1) / 2).clamp(0, 1)" if self.uniform else f"torch.special.ndtr({z})"
        low, high = self._ends
        inside = f"torch.special.ndtr(({values}.clamp{self.within!r} - {self.mean!r}) / {self.scale!r})"
        return f"({inside} - {low!r}) / {high - low!r}"

    def density(self, values: Floats) -> Floats:
        """Of one that is not cut off."""
        z = (values - self.mean) / self.scale
        if self.uniform:
            return np.where(np.abs(z) <= 1, 1 / (2 * self.scale), 0.0)
        return np.exp(-(z**2) / 2) / (math.sqrt(2 * math.pi) * self.scale)


def normal_cumulative(z: Floats) -> Floats:
    """Φ(z), by interpolating a table that is exact to 1e-8: its step is 2^-11, and |Φ''| < 1/4."""
    grid, table = _normal_table()
    return np.interp(z, grid, table)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Floats, Floats]:
    grid = np.arange(-8 * 2048, 8 * 2048 + 1) / 2048
    return grid, np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in grid])


def distances(values: Floats, spread: Spread) -> Floats:
    """sup |F_n − F| of each column: how far the empirical distribution of its n values is from the claimed one."""
    claimed, n = spread.cumulative(np.sort(values, 0)), len(values)
    above, below = np.arange(1, n + 1)[:, None] / n - claimed, claimed - np.arange(n)[:, None] / n
    return np.maximum(above, below).max(0)  # type: ignore[no-any-return]


def distance(values: Floats, spread: Spread) -> float:
    """The same of all values together."""
    return float(distances(values.reshape(-1, 1), spread)[0])


def distance_in_torch(path: str, n: int, spread: Spread) -> str:
    """The same distance of the ``n`` values of a tensor, as an expression of torch."""
    cumulative = spread.cumulative_in_torch(f"{path}.double().flatten().sort().values")
    middles = f"(torch.arange({n}, dtype=torch.float64) + 0.5) / {n}"
    return f"({cumulative} - {middles}).abs().max().item() + {0.5 / n!r}"


def allowed_distance(n: int, fmt: Format, many: int = 1) -> float:
    """√(ln(2m/δ)/2n), in each of ``many`` samples: the Dvoretzky–Kiefer–Wolfowitz bound with Massart's constant; and one rounding
    of each draw, which moves a probability by up to u·max|x·f(x)| ≤ u/2, and of a uniform one by u."""
    return math.sqrt(math.log(2 * many / DELTA) / (2 * n)) + 2 * fmt.unit_roundoff + 1e-8


def extremes(n: int) -> tuple[float, float]:
    """Between which values the largest of n normal deviations lies: all are below t with probability (1 - 2Q(t))ⁿ,
    which is near e^(-2nQ(t)).  n is above 60, else no lower bound is meaningful."""
    normal = NormalDist()
    return -normal.inv_cdf(min(-math.log(DELTA) / (2 * n), 0.5)), -normal.inv_cdf(DELTA / (2 * n))


def allowed_correlation(n: int) -> float:
    """√(4 ln(2/δ)/n): the mean of n products of independent normal pairs, by Chernoff: E e^{λXY} ≤ e^{λ²}, λ² ≤ 1/2.

    Holds where the bound is at most 1.
    """
    return math.sqrt(4 * math.log(2 / DELTA) / n)


#: Of so many normal numbers one surely has the last digit of its dtype, and of so many of a truncated distribution.
_MANY, _MANY_TRUNCATED = 64, 128

#: The distribution by fan_in and fan_out.
Fans = Callable[[float, float], Spread]


class Initializer(NamedTuple):
    """A function of torch.nn.init, or one that is named so in the programs, its arguments after the tensor, and what is due:
    a distribution, a constant, or neither.  Where the generator goes stands "generator"."""

    function: str
    arguments: tuple[Any, ...]
    named: dict[str, Any]
    fans: Fans | None = None
    constant: float | None = None


def _of(function: str, due: Fans | Spread | float | None, *arguments: Any, **named: Any) -> Initializer:
    """One that draws is given the generator by name, if its arguments don't have it."""
    if isinstance(due, float):
        return Initializer(function, arguments, named, constant=due)
    if "generator" not in arguments:
        named["generator"] = "generator"
    return Initializer(function, arguments, named, (lambda i, o: due) if isinstance(due, Spread) else due)


def _alone(function: str, due: Fans | Spread | float | None = None, *arguments: Any, **named: Any) -> Initializer:
    """One that takes no generator."""
    made = _of(function, due, *arguments, **named)
    return made._replace(named=named)


def _uniform(low: float, high: float) -> Spread:
    return Spread((low + high) / 2, (high - low) / 2, True)


def _xavier(gain: float, *, uniform: bool) -> Fans:
    return lambda i, o: Spread(0.0, gain * math.sqrt((6 if uniform else 2) / (i + o)), uniform)


def _kaiming(gain: float, *, uniform: bool, out: bool = False) -> Fans:
    wide = math.sqrt(3) if uniform else 1.0
    return lambda i, o: Spread(0.0, wide * (gain / math.sqrt(o if out else i)), uniform)


_STEEP, _RELU = math.sqrt(2 / 10), math.sqrt(2)
#: The gains of what kaiming_uniform_ and kaiming_normal_ may be given as nonlinearity (torch.nn.init.calculate_gain).
GAINS = {"leaky_relu": _RELU, "linear": 1.0, "tanh": 5 / 3}
#: What nn.Linear draws, with a = √5: numbers up to 1/√fan_in.
_LINEAR = _kaiming(math.sqrt(2 / 6), uniform=True)
INITIALIZERS: dict[str, Initializer] = {
    "uniform": _of("uniform_", _uniform(0.0, 1.0)),
    "uniform_wide": _of("uniform_", _uniform(-3.0, 1.0), -3.0, 1.0),
    "normal": _of("normal_", Spread(0.0, 1.0, False)),
    "embedding": _alone("embedding", Spread(0.0, 1.0, False)),
    "normal_moved": _of("normal_", Spread(-2.0, 0.5, False), mean=-2.0, std=0.5),
    "xavier_uniform": _of("xavier_uniform_", _xavier(1.0, uniform=True)),
    "xavier_normal": _of("xavier_normal_", _xavier(1.0, uniform=False)),
    "xavier_normal_wide": _of("xavier_normal_", _xavier(4.0, uniform=False), gain=4.0),
    "kaiming_uniform": _of("kaiming_uniform_", _kaiming(_RELU, uniform=True)),
    "kaiming_uniform_steep": _of("kaiming_uniform_", _kaiming(_STEEP, uniform=True, out=True), a=3.0, mode="fan_out"),
    "kaiming_normal": _of("kaiming_normal_", _kaiming(_RELU, uniform=False)),
    "kaiming_normal_selu": _of("kaiming_normal_", _kaiming(3 / 4, uniform=False, out=True), mode="fan_out",
                                nonlinearity="selu"),
    "kaiming_normal_steep": _of("kaiming_normal_", _kaiming(_STEEP, uniform=False), a=3.0),
    "truncated": _of("trunc_normal_", Spread(0.0, 1.0, False, (-2.0, 2.0))),
    "linear_weight": _alone("linear_weight", _LINEAR),
    "linear_bias": _alone("linear_bias", Spread(0.0, 0.5, True)),
    "truncated_fine": _of("trunc_normal_", Spread(0.125, 0.0625, False, (0.0625, 0.1875)),
                          0.125, 0.0625, 0.0625, 0.1875, "generator"),
    # Nothing is drawn.
    "normal_fixed": _of("normal_", 0.75, 0.75, 0.0, generator="generator"),
    "constant_zero": _alone("constant_", 0.0, 0),
    "constant": _alone("constant_", 0.75, 0.75),
    "constant_third": _alone("constant_", 1 / 3, val=1 / 3),
    "ones": _alone("ones_", 1.0),
    "zeros": _alone("zeros_", 0.0),
    "xavier_uniform_zero": _of("xavier_uniform_", 0.0, gain=0.0, generator="generator"),
    # What is due is no constant, and each number not drawn for itself.
    "eye": _alone("eye_"),
    "dirac": _alone("dirac_"),
    "orthogonal": _of("orthogonal_", None),
    "orthogonal_wide": _of("orthogonal_", None, gain=3.0),
    "sparse_half": _of("sparse_", None, sparsity=0.5),
    "linear_without_bias": _alone("linear_without_bias", _LINEAR),
    "normal_narrow": _of("normal_", Spread(0.0, 0.5, False), std=0.5),
    "truncated_tail": _of("trunc_normal_", Spread(0.0, 1.0, False, (1.0, 3.0)), a=1.0, b=3.0),
}  # fmt: skip
DISTRIBUTIONS = {name: made.fans for name, made in INITIALIZERS.items() if made.fans}
SPARSITY = {"sparse_half": 0.5}
#: Those whose nonlinearity the case's seed chooses.
GAINED = frozenset({"kaiming_uniform", "kaiming_normal"})
ORTHOGONAL = {"orthogonal": 1.0, "orthogonal_wide": 3.0}
#: Those that need a matrix, at least a matrix, or a kernel of a convolution.
LAYERS = frozenset({"linear_weight", "linear_bias", "linear_without_bias", "embedding"})
MATRICES = frozenset({"eye", *SPARSITY, *LAYERS})
FANNED = frozenset(name for name in INITIALIZERS if name.startswith(("xavier", "kaiming")) or name in ORTHOGONAL)
KERNELS = frozenset({"dirac"})
#: Those that make their numbers with torch's own generator whatever they are given.
WITHOUT_GENERATOR = frozenset(
    name for name, made in INITIALIZERS.items() if "generator" not in (*made.arguments, *made.named)
)


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


def orthogonal(values: Floats, path: str, limit: float, gain: float = 1.0) -> Finding:
    """Whether rows, or columns where they are fewer, are orthogonal and of length ``gain``, up to a limit; ``path`` is the
    expression of torch that gives the matrices."""
    wide = values.shape[-2] <= values.shape[-1]
    few, rows = (values, path) if wide else (np.swapaxes(values, -1, -2), f"{path}.mT")
    count, square = few.shape[-2], gain**2
    off = float(np.abs(few @ np.swapaxes(few, -1, -2) - square * np.eye(count)).max())
    if off <= limit:
        return Holds(off / limit)
    told = f"({rows} @ {rows}.mT - {square!r} * torch.eye({count})).abs().max().item()"
    return Difference("orthogonal", told, off, 0.0, f"W Wᵀ is off by {off:.3g} > {limit:.3g}", limit)


def drawn_from(spread: Spread, found: Field, fmt: Format, part: str = "", drawn: Floats | None = None) -> Finding:
    """Whether numbers are within a distribution's range and near its cumulative function (Dvoretzky-Kiefer-Wolfowitz), and
    use every digit of their dtype.

    ``drawn`` are those that are, if not all: ``part`` is their index, as an expression.  The last digit of a normal number is
    one half of the time: that none of n has it has a probability of 2⁻ⁿ.  Of a truncated distribution about a mean it is so of
    the numbers above the mean, which are no finer than the mean is: a quarter of all, which gives (3/4)ⁿ.  In a tail it is more.
    That two of n numbers of p bits are the same has a probability below n² 2¹⁻ᵖ, which of few in float64 is next to none.
    """
    values = np.asarray(found.values if drawn is None else drawn, np.float64)
    low, high = spread.limits
    slack = 2 * fmt.unit_roundoff * max(abs(low), abs(high)) if math.isfinite(high) else 0.0
    if values.min() < low - slack or values.max() > high + slack:
        words = f"[{values.min():g}, {values.max():g}] lies outside [{low:g}, {high:g}]"
        beyond = found.derived(f"max({low - slack!r} - {{}}.min().item(), {{}}.max().item() - {high + slack!r}, 0.0)")
        return Difference("range", beyond.path, beyond.raw, 0.0, words)
    far, most = distance(values, spread), allowed_distance(values.size, fmt)
    if far <= most:
        many = _MANY_TRUNCATED if spread.within else math.inf if spread.uniform else _MANY
        if values.size >= many:
            last = found.derived(f"({{}}.double().frexp().mantissa * {2.0**fmt.precision} % 2).any().item()")
            if not last.raw:
                words = f"none of {values.size} numbers has the last digit of {fmt.name}"
                return Difference("digits", last.path, False, True, words)
        if 0 < values.size**2 * 2.0 ** (1 - fmt.precision) <= DELTA and np.unique(values).size < values.size:
            different = found.derived(f"{{}}{part}.unique().numel()")
            return Difference("repeated", different.path, different.raw, values.size, "two numbers are the same")
        return Holds(float(far / most))
    words = f"mean {values.mean():g}, deviation {values.std():g}: the distribution is off by {far:.3g} > {most:.3g}"
    path = distance_in_torch(f"{found.path}{part}", values.size, spread)
    return Difference("distribution", path, far, 0.0, words, most)


def elements_drawn_from(spread: Spread, found: Field, fmt: Format) -> Finding:
    """Whether the values that each element was filled with one after another, of shape (n, elements), are near a distribution's
    cumulative function, whichever element it is."""
    values = found.values
    n, elements = values.shape
    far, most = distances(values, spread), allowed_distance(n, fmt, elements)
    worst = int(far.argmax())
    if far[worst] <= most:
        return Holds(float(far[worst] / most))
    filled = values[:, worst]
    words = (
        f"element {worst} of {elements}, filled {n} times, has mean {filled.mean():g} and deviation {filled.std():g}"
    )
    path = distance_in_torch(f"{found.path}[:, {worst}]", n, spread)
    return Difference("element", path, float(far[worst]), 0.0, words, most)
