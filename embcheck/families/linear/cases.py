"""A linear layer's calls as a case: sizes, ranks, memory, what trains; and y = xAᵀ + b with its gradients."""

from __future__ import annotations

import math
from functools import cached_property, lru_cache, partial
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import oracle
from embcheck.core.amx_tiles import any_reads_on
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.core.layout import shared
from embcheck.families.tied_training.data import whole

#: Shapes of the input before its last axis, of ranks 0 to 4.
LEADS: tuple[tuple[int, ...], ...] = (
    (2,), (), (1,), (3,), (0,), (2, 2), (1, 1), (3, 1), (1, 3), (0, 2), (2, 0), (2, 1, 2), (1, 1, 1), (2, 2, 3), (2, 0, 1),
    (2, 1, 1, 3), (5,), (17,), (65,),
)  # fmt: skip
#: Sizes on both sides of where kernels change their path.
SIZES = (3, 2, 1, 0, 4, 5, 8, 15, 16, 17, 31, 33, 64, 65)
#: And of where the blocks of a long sum do.
WIDE = (127, 128, 129, 255, 256, 257, 258, 511, 512, 513, 1023, 1024, 1025)
#: And beyond: rows of a block, and on both sides of fifteen bits.
LONG = (2049, 3073, 8193, 32767, 32768, 32769)


class _AffineAxes(NamedTuple):
    """The axes, simplest value first."""

    width: int = 3
    outputs: int = 2
    lead: tuple[int, ...] = (2,)
    bias: bool = False
    call: str = "module"
    #: whether weight and bias are doubled between the calls
    doubled: bool = False
    times: int = 1
    #: whether the input, the weight and the bias require grad
    trains: tuple[bool, bool, bool] = (False, True, True)
    grad_mode: str = "enabled"
    autocast: bool = False
    dtype: str = "float32"
    input_layout: str = "contiguous"
    weight_layout: str = "contiguous"
    bias_layout: str = "contiguous"
    upstream_layout: str = "contiguous"
    #: small integers, fine ones (with digits behind the point), one NaN or infinity in the input, weight or bias, or
    #: nothing else in any row but one of the input and of the upstream gradient
    values: str = "small"
    misfit: str | None = None
    seed: int = 0


class LinearCase(Axes, _AffineAxes):  # type: ignore[misc]
    """``times`` calls of a linear layer with ``width`` input and ``outputs`` output features."""

    @property
    def format(self) -> Format:
        """The number format of the layer."""
        return FORMATS[self.dtype]

    @property
    def computed(self) -> Format:
        """The format of the output: bfloat16 under autocast, but for float64."""
        return FORMATS["bfloat16"] if self.autocast and self.dtype != "float64" else self.format

    @property
    def is_special(self) -> bool:
        """Whether there is a NaN or an infinity."""
        return self.values not in ("small", "fine")

    @property
    def finite(self) -> LinearCase:
        """The case with small integers in place of NaN and infinity."""
        return self.but(values="small") if self.is_special else self

    @property
    def is_one_row(self) -> bool:
        """Whether one row alone has numbers."""
        return self.values.startswith("other_rows")

    @property
    def row(self) -> int:
        """The row that has numbers where the others have none."""
        return self.seed % max(self.rows, 1)

    @property
    def products(self) -> list[tuple[int, int, int]]:
        """(rows, width, columns) of what is multiplied: the output, the gradients of the input and of the weight."""
        gradients = [(self.rows, self.outputs, self.width), (self.outputs, self.rows, self.width)]
        due = [each for each, trains in zip(gradients, self.trains[:2], strict=True) if trains and self.learns]
        return [(self.rows, self.width, self.outputs), *due]

    @property
    def rows(self) -> int:
        """How many vectors are fed."""
        return math.prod(self.lead)

    @cached_property
    def x(self) -> Floats:
        """The input, shape (rows, width)."""
        same = self.input_layout == "expanded"
        numbers = np.ones((self.rows, self.width)) if same else _small("x", self.seed, self.rows, self.width)
        return self._alone(self._spoilt("input", numbers))

    @cached_property
    def weight(self) -> Floats:
        """The weight at first, shape (outputs, width)."""
        numbers = _small("weight", self.seed, self.outputs, self.width)
        if self.values == "fine":  # what half the format's digits can't hold
            numbers = numbers + 2.0 ** -(self.format.precision // 2)
        return self._spoilt("weight", numbers)

    @cached_property
    def bias_values(self) -> Floats:
        """The bias at first, shape (outputs,)."""
        return self._spoilt(
            "bias", _small("bias", self.seed, 1, self.outputs)[0] if self.bias else np.zeros(self.outputs)
        )

    @cached_property
    def upstream(self) -> Floats:
        """The upstream gradient, shape (rows, outputs)."""
        if self.upstream_layout == "expanded":
            return np.ones((self.rows, self.outputs))
        return self._alone(shared(_small("upstream", self.seed, self.rows, self.outputs), self.upstream_layout))

    def _alone(self, finite: Floats) -> Floats:
        """The signs of numbers in one row, whose sums fit any format, and NaN or infinity in the others."""
        if not self.is_one_row:
            return finite
        found = np.full(finite.shape, float(self.values.rpartition("_")[2]))
        found[self.row :][:1] = np.sign(finite[self.row :][:1])
        return found

    def _row_by_row(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """a @ b with its bound, if one row of a alone has numbers."""
        value, limit = oracle.product(np.where(np.isfinite(a), a, 0.0), b, self.computed)
        others = np.arange(len(a)) != self.row
        with np.errstate(invalid="ignore"):
            value[others] = (a[others][:, :, None] * b[None]).sum(1)
        limit[others] = 0.0
        return value, limit

    def _spoilt(self, part: str, numbers: Floats) -> Floats:
        where, _, what = self.values.partition("_")
        if where == part and numbers.size:
            numbers = numbers.copy()
            numbers.flat[self.seed % numbers.size] = float(what)
        return numbers

    def factor(self, turn: int) -> float:
        """By what weight and bias were multiplied before a call."""
        return 2.0**turn if self.doubled else 1.0

    def value(self, turn: int) -> tuple[Floats, Floats]:
        """What a call returns, with its bound, shape (*lead, outputs)."""
        scale, shape = self.factor(turn), (*self.lead, self.outputs)
        if self.is_special and not self.is_one_row:
            with np.errstate(invalid="ignore"):
                exact = (self.x[:, None, :] * (scale * self.weight)[None]).sum(
                    -1
                ) + scale * self.bias_values * self.bias
            return exact.reshape(shape), np.zeros(shape)
        ones = np.ones((self.rows, 1))
        table = np.hstack([scale * self.weight, scale * self.bias_values[:, None]])
        multiplied = self._row_by_row if self.is_one_row else partial(oracle.product, fmt=self.computed)
        found, limit = multiplied(np.hstack([self.x, ones]), table.T)
        return found.reshape(shape), limit.reshape(shape)

    @cached_property
    def learns(self) -> bool:
        """Whether there is a graph."""
        trains = self.trains[0] or self.trains[1] or (self.trains[2] and self.bias)
        return trains and self.grad_mode == "enabled"

    def row_gradient(self) -> tuple[Floats, Floats]:
        """The gradient of the one row of the input that has numbers, with its bound, shape (width,)."""
        scale = sum(self.factor(turn) for turn in range(self.times))
        value, limit = self._row_by_row(scale * self.upstream, self.weight)
        return value[self.row], limit[self.row]

    def gradients(self) -> dict[str, tuple[Floats, Floats] | None]:
        """The gradients of the input, the weight and the bias after all calls; None where there is none."""
        g, fmt = self.upstream, self.computed
        scales = [self.factor(turn) for turn in range(self.times)]
        found: dict[str, tuple[Floats, Floats] | None] = {"input": None, "weight": None, "bias": None}
        if not self.learns:
            return found
        if self.trains[0]:
            value, limit = oracle.product(sum(scales) * g, self.weight, fmt)
            found["input"] = value.reshape(*self.lead, self.width), limit.reshape(*self.lead, self.width)
        if self.trains[1]:
            found["weight"] = oracle.product(self.times * g.T, self.x, fmt)
        if self.trains[2] and self.bias:
            value, limit = oracle.product(self.times * np.ones((1, self.rows)), g, fmt)
            found["bias"] = value[0], limit[0]
        return found

    def inputs(self) -> dict[str, Input]:
        """The tensors to feed."""
        encode, dtype = self.format.encode, self.dtype
        upstream = self.computed.encode(self.upstream.reshape(*self.lead, self.outputs))
        fed = {
            "x": Input(encode(self.x.reshape(*self.lead, self.width)), dtype, self.input_layout),
            "weight": Input(encode(self.weight), dtype, self.weight_layout),
            "upstream": Input(upstream, self.computed.name, self.upstream_layout),
        }
        if self.bias or self.misfit is not None:
            fed["bias"] = Input(encode(self.bias_values), dtype, self.bias_layout)
        return fed

    def facts(self) -> dict[str, Any]:
        """The axes and: rank, rows, empty, refused, learns, bias_alone (nothing else trains), input_alone, special,
        vector (the weight has no axis of outputs), reads_on (AMX reads on behind the rows of one of its products)."""
        first, second, third = self.trains
        return {
            **{name: value for name, value in self.axes.items() if name not in ("lead", "trains")},
            "rank": len(self.lead) + 1,
            "rows": self.rows,
            "empty": not self.rows,
            "refused": self.misfit is not None,
            "learns": self.learns,
            "bias_alone": self.bias and third and not (first or second),
            "input_alone": first and not (second or (third and self.bias)),
            "special": self.is_special,
            "vector": self.call == "vector",
            "reads_on": any_reads_on(self.computed.name, self.products),
        }


@lru_cache(maxsize=2048)
def _small(name: str, seed: int, rows: int, columns: int) -> Floats:
    """Integers ±1…±3."""
    return whole((rows, columns), 3, "affine", name, seed % 64)
