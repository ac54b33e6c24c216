"""What a layer makes of its weight before it looks rows up, as its author declares it.

A layer whose rows are not those of its parameter — scaled by √d, shifted, masked, parametrized — looks up rows of
f(W).  The laws follow the declaration: the value is f(W)[i], the gradient f's pullback of the rows' gradients.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from embcheck.core.bound import gamma, scaled_sum
from embcheck.core.format import Floats, Format

#: f: the parameter's values, shape ``(V, D)``, to the table that is looked up, of the same shape.
Value = Callable[[Floats], Floats]
#: ``(W, G) -> dW``: the gradient by the parameter from the gradient by the table, both of shape ``(V, D)``.
Pullback = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True)
class Mathematics:
    """f and its pullback in float64, and how the layer may round.

    Each element of f(W) comes from ``roundings`` operations, whose terms have the magnitudes that ``magnitude`` adds
    up: |f(W)| where nothing cancels.  Then |got − f(W)| ≤ γ_roundings·magnitude + roundings·η (Higham, Accuracy and
    Stability of Numerical Algorithms, §3.1), with η for products that underflow.  ``steepness`` likewise adds up the
    terms of f': 1 + tanh² for the 1 − tanh² of a tanh; by default |f'|, where nothing cancels.
    """

    value: Value
    pullback: Pullback
    roundings: int
    magnitude: Value
    steepness: Value | None = None

    def table(self, weight: Floats, fmt: Format) -> tuple[Floats, Floats]:
        """f(W) and its bound; a format's own overflow is an infinity."""
        expected = self.value(weight)
        limit = gamma(self.roundings, fmt.unit_roundoff) * self.magnitude(weight)
        return expected, limit + self.roundings * fmt.smallest_subnormal

    def gradient(
        self, weight: Floats, value: Floats, terms: Floats, count: Floats, fmt: Format
    ) -> tuple[Floats, Floats]:
        """dW and its bound, from the table's gradient ``value``, a sum of ``count`` terms of magnitudes ``terms``.

        The layer may pull back before the sum or after it, so each term takes f's roundings, the sum's, and the two of
        a division by the frequency.
        """
        expected = self.pullback(weight, value)
        size = np.abs(self.pullback(weight, terms)) if self.steepness is None else self.steepness(weight) * terms
        limit = scaled_sum(self.roundings + count + 2, fmt.unit_roundoff + 2.0**-53, self.roundings + 3) * size
        return expected, limit + (self.roundings + count) * fmt.smallest_subnormal * (size > 0)


#: The declared mathematics of each subject's entry; an entry that is not here looks up its parameter's own rows.
MATHEMATICS: dict[str, Mathematics] = {}


def affine(scale: Callable[[int], float] | float = 1.0, offset: Callable[[int], float] | float = 0.0) -> Mathematics:
    """f(W) = scale·W + offset; each a number or a function of embedding_dim.

    Three roundings: of the scale itself to the layer's format, of the product and of the sum.
    """

    def at(number: Callable[[int], float] | float, weight: Floats) -> float:
        return float(number(weight.shape[1]) if callable(number) else number)

    return Mathematics(
        value=lambda w: at(scale, w) * w + at(offset, w),
        pullback=lambda w, g: at(scale, w) * g,
        roundings=3,
        magnitude=lambda w: np.abs(at(scale, w) * w) + abs(at(offset, w)),
    )
