"""How likely a right torch is judged wrong by a claim whose program draws numbers.

The seeds are fixed: a torch that comes out right does so every time.  The probability is over the generators that a
right torch may have, for another release may draw other numbers from the same seed.  Each bound is that of one case.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from embcheck.families.initializers.oracle import DELTA


class Chance(NamedTuple):
    """A bound on the probability that a right torch is judged wrong on one case, and why it is one."""

    bound: float
    because: str


_DISTANCE = (
    "n values are farther than √(ln(2/δ)/2n) from their distribution with probability δ at most (Dvoretzky, Kiefer, Wolfowitz, "
    "Massart)"
)

#: What is judged would come out for any numbers.
NONE = Chance(0.0, "what is drawn is compared with itself, bit for bit, whatever it is")

#: `embcheck.claims.distributions.distributed` where the claimed distribution is the true one.
BY_DISTANCE = Chance(DELTA, _DISTANCE)

#: And where it is not: both distances are judged, and one event decides both.
BETWEEN_TWO = Chance(DELTA, f"{_DISTANCE}; the claimed distribution is more than twice as far from the true one")


def alike(values: int) -> Chance:
    """Two layers have the same values, so many at least."""
    words = "two layers are alike only if all signs are: each is positive with probability 1/2"
    return Chance(2.0**-values, f"{words}, and there are {values} values or more")


def zero_row(width: int) -> Chance:
    """A row that an initialiser fills is zero, at least so wide.

    Of 24 random bits each pattern has probability 2⁻²⁴, and no more than two give one float32.
    """
    words = f"a row that is drawn is zero only if each of its values is, of which there are {width} or more"
    return Chance(2.0 ** (-23 * width), f"{words}: no float32 is drawn with a probability above 2⁻²³")


def narrow(values: int, share: float) -> Chance:
    """The variance of so many normal values is below this share of theirs: Chernoff's bound for χ² with n - 1 degrees."""
    exponent = (values - 1) / 2 * (math.log(share) + 1 - share)
    words = f"the variance of n normal values is below x of theirs with probability at most (x·e^(1−x))^((n−1)/2): x {share:g}"
    return Chance(math.exp(max(exponent, math.log(1e-300))), f"{words}, n {values:,} or more (Chernoff)")
