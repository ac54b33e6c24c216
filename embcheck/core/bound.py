"""How far a correct result may lie from the exact one: forward-error bounds, never tolerances.

Two tools.  `gamma`, `summation` and `scaled_sum` are the closed forms for sums and products in any order.  `Rounded` carries a
bound through a formula, operation by operation (running error analysis: Wilkinson 1963; Higham, *Accuracy and
Stability of Numerical Algorithms*, 2nd ed., section 3.3), so that a bound is derived by evaluating the definition.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from embcheck.core.format import Floats, Format

_ORACLE_ROUNDOFF = 2.0**-53


def gamma(operations: int | Floats, unit_roundoff: float) -> Floats:
    """γ_n = n·u / (1 − n·u): n roundings in a row (Higham, lemma 3.1); infinite where n·u ≥ 1."""
    product = np.asarray(operations, dtype=np.float64) * unit_roundoff
    with np.errstate(divide="ignore"):
        return np.where(product < 1, product / np.where(product < 1, 1 - product, 1), np.inf)


def summation(terms: int | Floats, magnitude: Floats, fmt: Format) -> Floats:
    """(n−1)·u·Σ|x| for a sum of n terms in any order (Jeannerod and Rump 2013), ``magnitude`` being Σ|x|.

    The oracle's own float64 sum is off by as much with its own roundoff, which is added.
    """
    additions = np.maximum(np.asarray(terms, dtype=np.float64) - 1, 0)
    return additions * (fmt.unit_roundoff + _ORACLE_ROUNDOFF) * magnitude


def scaled_sum(roundings: int | Floats, unit_roundoff: float, others: int = 5) -> Floats:
    """σ_n = (1 + (n−k)·u)·(1+u)^k − 1: of n roundings all but k are additions of one sum, in any order, to a relative error of
    Σ|x| (Jeannerod and Rump 2013); the ``others`` are of its terms, or of what becomes of it.  Finite for any n, and below γ_n.
    """
    count = np.asarray(roundings, dtype=np.float64)
    apart = np.minimum(count, others)
    grown: Floats = np.expm1(apart * np.log1p(unit_roundoff))
    return grown + (count - apart) * unit_roundoff * (1 + grown)


class Rounded:
    """Values with a bound of the error that an evaluation in a format may have made so far.

    Every operation propagates the operands' errors and adds one rounding of its own, u·|result|, and products and quotients
    η/2, for they may underflow.  What exact zeros come to is exact, in any order.  An evaluation in another, algebraically
    equal order of the same length stays within a small multiple; the caller states that multiple.
    """

    __slots__ = ("error", "fmt", "value")
    __array_ufunc__ = None  # numpy leaves ``array * rounded`` to us

    def __init__(self, value: npt.ArrayLike, fmt: Format, error: npt.ArrayLike = 0.0) -> None:
        self.value: Floats = np.asarray(value, np.float64)
        self.fmt = fmt
        self.error: Floats = np.asarray(error, np.float64)

    def _of(self, other: Any) -> Rounded:
        return other if isinstance(other, Rounded) else Rounded(other, self.fmt)

    def _result(self, value: Floats, propagated: Floats, underflow: Floats | float = 0.0) -> Rounded:
        rounding = (self.fmt.unit_roundoff + _ORACLE_ROUNDOFF) * (np.abs(value) + propagated)
        found = object.__new__(Rounded)  # what numpy computed is converted already
        found.value, found.fmt, found.error = value, self.fmt, propagated + rounding + underflow
        return found

    def __add__(self, other: Any) -> Rounded:
        b = self._of(other)
        added = self._result(self.value + b.value, self.error + b.error)
        for zero, rest in ((self, b), (b, self)):
            if not zero.value.all():  # to add an exact zero rounds nothing
                added.error = np.where((zero.value == 0) & (zero.error == 0), rest.error, added.error)
        return added

    def __sub__(self, other: Any) -> Rounded:
        return self + -self._of(other)

    def __mul__(self, other: Any) -> Rounded:
        b = self._of(other)
        spread = np.abs(self.value) * b.error + np.abs(b.value) * self.error + self.error * b.error
        underflow: Floats | float = self.fmt.smallest_subnormal / 2
        if not (self.value.all() and b.value.all()):
            underflow = np.where((spread == 0) & ((self.value == 0) | (b.value == 0)), 0.0, underflow)
        return self._result(self.value * b.value, spread, underflow)

    def __truediv__(self, other: Any) -> Rounded:
        b = self._of(other)
        # |a'/b' - a/b| <= (|a/b|·eb + ea) / (|b| - eb), and unbounded once the divisor may be zero.
        slack = np.abs(b.value) - b.error
        with np.errstate(divide="ignore", invalid="ignore"):
            value = self.value / b.value
            spread = np.where(slack > 0, (np.abs(value) * b.error + self.error) / slack, np.inf)
        underflow: Floats | float = self.fmt.smallest_subnormal / 2
        if not self.value.all():
            underflow = np.where((spread == 0) & (self.value == 0), 0.0, underflow)
        return self._result(value, spread, underflow)

    def sqrt(self) -> Rounded:
        """The square root; |√a' − √a| ≤ ea / √a, and ≤ √ea near zero."""
        root = np.sqrt(np.maximum(self.value, 0))
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(root > 0, np.minimum(self.error / root, np.sqrt(self.error)), np.sqrt(self.error))
        return self._result(root, spread)

    def __neg__(self) -> Rounded:
        return Rounded(-self.value, self.fmt, self.error)

    def __abs__(self) -> Rounded:
        return Rounded(np.abs(self.value), self.fmt, self.error)

    def maximum(self, other: Any) -> Rounded:
        """Elementwise maximum; exact, so the errors only meet."""
        b = self._of(other)
        return Rounded(np.maximum(self.value, b.value), self.fmt, np.maximum(self.error, b.error))

    __radd__ = __add__
    __rmul__ = __mul__

    def __rsub__(self, other: Any) -> Rounded:
        return self._of(other) - self

    def __rtruediv__(self, other: Any) -> Rounded:
        return self._of(other) / self
