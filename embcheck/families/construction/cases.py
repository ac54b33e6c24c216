"""The cases of a table's construction, first values and training, and what should come of each; numpy only."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, lru_cache
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.axes import Input, OfDtype
from embcheck.core.case import LookupCase
from embcheck.core.format import Floats, Format

#: The probability that a correct generator fails one statistical law on one case.  Some hundred cases are judged in a
#: run, so that a run fails wrongly with a probability below 1e-9.
DELTA = 1e-13


class _ConstructionAxes(NamedTuple):
    """The axes of a construction, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    padding_idx: int | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    scale_grad_by_freq: bool = False
    sparse: bool = False
    make: str = "keyword"
    act: str = "nothing"
    #: what is attempted, where that must be refused
    wrong: str | None = None
    dtype: str = "float32"
    layout: str = "contiguous"
    #: what the table that is given or loaded holds
    values: str = "fingerprint"
    #: the class in torch.nn: Embedding or EmbeddingBag, which has the two flags below
    kind: str = "Embedding"
    mode: str = "mean"
    include_last_offset: bool = False
    seed: int = 0


class ConstructionCase(OfDtype, _ConstructionAxes):  # type: ignore[misc]
    """A table of ``num_embeddings`` rows and ``embedding_dim`` columns that is made, and what is done to it."""

    @cached_property
    def table(self) -> LookupCase:
        """The table that is given or loaded."""
        return LookupCase(self.num_embeddings, self.embedding_dim, values=self.values, dtype=self.dtype, seed=self.seed)

    @property
    def weight_input(self) -> Input:
        """The table as a tensor to feed."""
        return Input(self.table.weight_stored, self.dtype, self.layout)

    @property
    def padding_row(self) -> int | None:
        """padding_idx counted from the front."""
        return None if self.padding_idx is None else self.padding_idx % self.num_embeddings

    @property
    def is_bag(self) -> bool:
        """Whether the module reduces bags."""
        return self.kind == "EmbeddingBag"

    @property
    def flags(self) -> dict[str, Any]:
        """The keywords that differ from their defaults."""
        names = ("padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse", "mode", "include_last_offset")
        return {name: getattr(self, name) for name in names if getattr(self, name) != self._field_defaults[name]}

    @property
    def attributes(self) -> list[Any]:
        """The module's attributes, padding_idx counted from the front."""
        found = [self.num_embeddings, self.embedding_dim, self.padding_row, self.max_norm, self.norm_type,
                 self.scale_grad_by_freq, self.sparse]  # fmt: skip
        return [*found, self.mode, self.include_last_offset] if self.is_bag else found

    @property
    def told(self) -> str:
        """The module's repr: sizes, and exactly the flags that differ from their defaults; a bag's mode always, and
        neither whether it is sparse nor whether it has a last offset."""
        flags = self.flags
        if self.is_bag:
            shown = ("max_norm", "norm_type", "scale_grad_by_freq")
            flags = {name: flags[name] for name in shown if name in flags} | {"mode": self.mode}
        flags |= {} if self.padding_idx is None else {"padding_idx": self.padding_row}
        parts = [str(self.num_embeddings), str(self.embedding_dim), *(f"{name}={v!r}" for name, v in flags.items())]
        return f"{self.kind}({', '.join(parts)})"

    def facts(self) -> dict[str, Any]:
        """The axes and: padded, negative_padding, first_row_padded, elements, empty_table."""
        return {
            **self.axes,
            "padded": self.padding_idx is not None,
            "negative_padding": self.padding_idx is not None and self.padding_idx < 0,
            "first_row_padded": self.padding_idx is not None and bool(self.num_embeddings) and self.padding_row == 0,
            "elements": self.num_embeddings * self.embedding_dim,
        }


# -- distributions -------------------------------------------------------------------------------------------------


class Spread(NamedTuple):
    """A distribution: the mean, and either a half width (uniform) or a standard deviation (normal)."""

    mean: float
    scale: float
    uniform: bool

    def cumulative(self, values: Floats) -> Floats:
        """P(X ≤ x) at each of ``values``."""
        z = (values - self.mean) / self.scale
        if self.uniform:
            return np.clip((z + 1) / 2, 0.0, 1.0)
        return normal_cumulative(z)

    def cumulative_in_torch(self, values: str) -> str:
        """The same as an expression of torch."""
        z = f"({values} - {self.mean!r}) / {self.scale!r}"
        return f"(({z} + 1) / 2).clamp(0, 1)" if self.uniform else f"torch.special.ndtr({z})"

    def density(self, values: Floats) -> Floats:
        """The probability density at each of ``values``."""
        z = (values - self.mean) / self.scale
        if self.uniform:
            return np.where(np.abs(z) <= 1, 1 / (2 * self.scale), 0.0)
        shape: Floats = np.exp(-(z**2) / 2) / (math.sqrt(2 * math.pi) * self.scale)
        return shape


def normal_cumulative(z: Floats) -> Floats:
    """Φ(z), by interpolating a table that is exact to 1e-8: its step is 2^-11, and |Φ''| < 1/4."""
    grid, table = _normal_table()
    return np.interp(z, grid, table)


@lru_cache(maxsize=1)
def _normal_table() -> tuple[Floats, Floats]:
    grid = np.arange(-8 * 2048, 8 * 2048 + 1) / 2048
    return grid, np.array([0.5 * math.erfc(-x / math.sqrt(2)) for x in grid])


def distance(values: Floats, spread: Spread) -> float:
    """sup |F_n − F|: how far the empirical distribution is from the claimed one."""
    ordered = np.sort(values.reshape(-1))
    n = len(ordered)
    claimed = spread.cumulative(ordered)
    above, below = np.arange(1, n + 1) / n - claimed, claimed - np.arange(n) / n
    return float(max(above.max(), below.max()))


def distance_in_torch(path: str, n: int, spread: Any) -> str:
    """The same distance of ``n`` values, as an expression of torch."""
    cumulative = spread.cumulative_in_torch(f"{path}.double().flatten().sort().values")
    middles = f"(torch.arange({n}, dtype=torch.float64) + 0.5) / {n}"
    return f"({cumulative} - {middles}).abs().max().item() + {0.5 / n!r}"


def allowed_distance(n: int, fmt: Format) -> float:
    """√(ln(2/δ)/2n): the Dvoretzky–Kiefer–Wolfowitz bound with Massart's constant; and one rounding of each draw,
    which moves a probability by up to u·max|x·f(x)| ≤ u/2, and of a uniform one by u."""
    return math.sqrt(math.log(2 / DELTA) / (2 * n)) + 2 * fmt.unit_roundoff + 1e-8


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


#: By how the first values of a table are drawn, of its rows and columns.
SPREADS: dict[str, Callable[[int, int], Spread]] = {
    "default": lambda rows, width: Spread(0.0, 1.0, False),
    "xavier_uniform": lambda rows, width: Spread(0.0, math.sqrt(6 / (rows + width)), True),
    "data_uniform": lambda rows, width: Spread(0.0, 0.125, True),
}


class _InitialAxes(NamedTuple):
    """The axes of the first values, simplest value first."""

    num_embeddings: int = 64
    embedding_dim: int = 256
    name: str = "default"
    padding_idx: int | None = None
    dtype: str = "float32"
    seed: int = 0


class InitialCase(OfDtype, _InitialAxes):  # type: ignore[misc]
    """A table whose first values are drawn by an initialisation."""

    @property
    def spread(self) -> Spread:
        """The distribution of the elements."""
        return SPREADS[self.name](self.num_embeddings, self.embedding_dim)

    @property
    def drawn(self) -> npt.NDArray[np.bool_]:
        """Which rows are drawn: all but the padding row, shape ``(V,)``."""
        rows = np.ones(self.num_embeddings, np.bool_)
        if self.padding_idx is not None:
            rows[self.padding_idx] = False
        return rows

    def facts(self) -> dict[str, Any]:
        """The axes and: padded, elements."""
        elements = self.num_embeddings * self.embedding_dim
        return {**self.axes, "padded": self.padding_idx is not None, "elements": elements}

    @property
    def weight_input(self) -> Input:
        """Nothing is fed but the sizes."""
        return Input(np.zeros(1, np.float32), "float32")


class _PaddingStepAxes(NamedTuple):
    """The axes of padding in training, simplest value first."""

    num_embeddings: int = 3
    embedding_dim: int = 2
    padding_idx: int = 0
    optimizer: str = "SGD"
    #: the padding row holds numbers, not zeros
    filled: bool = False
    weight_decay: float = 0.0
    momentum: float = 0.0
    head: bool = False
    sparse: bool = False
    steps: int = 1
    dtype: str = "float32"
    seed: int = 0


class PaddingStepCase(OfDtype, _PaddingStepAxes):  # type: ignore[misc]
    """Steps of an optimizer on a table with padding; with ``head`` its weight is tied to an output layer's."""

    @property
    def padding_row(self) -> int:
        """padding_idx counted from the front."""
        return self.padding_idx % self.num_embeddings

    @cached_property
    def weight(self) -> Floats:
        """The table, integers ±1…±3; the padding row is zero unless ``filled``."""
        table = LookupCase(self.num_embeddings, self.embedding_dim, values="small", dtype=self.dtype, seed=self.seed)
        values: Floats = table.weight_values.copy()
        if not self.filled:
            values[self.padding_row] = 0
        return values

    @cached_property
    def hidden(self) -> Floats:
        """The head's input, one row of integers −2…2, shape (1, D)."""
        code = stream.below(stream.derive("hidden", self.seed % 64), self.embedding_dim, 5)
        return (code.astype(np.float64) - 2)[None]

    @cached_property
    def path(self) -> tuple[Floats, Floats]:
        """The table after each step by SGD's formula, shape (steps, V, D), and the gradient of a step.

        Every row is looked up once with the gradient 1, the padding row with 0; the head sends ``hidden`` to every row.
        """
        gradient = np.ones((self.num_embeddings, self.embedding_dim))
        gradient[self.padding_row] = 0
        if self.head:
            gradient = gradient + self.hidden
        weight, buffer, steps = self.weight, None, []
        for _ in range(self.steps):
            moved = gradient + self.weight_decay * weight
            buffer = moved if buffer is None else self.momentum * buffer + moved
            weight = weight - 0.5 * (buffer if self.momentum else moved)
            steps.append(weight)
        return np.array(steps), gradient

    def facts(self) -> dict[str, Any]:
        """The axes and: negative_padding, decayed."""
        return {**self.axes, "negative_padding": self.padding_idx < 0, "decayed": self.weight_decay > 0}
