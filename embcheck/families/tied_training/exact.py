"""SGD in exact arithmetic: its documented algorithm, run on numbers that show whether a format holds all that is computed."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from embcheck.core.bound import Rounded
from embcheck.core.format import FORMATS, Floats, Format
from embcheck.families.tied_training.algorithms import sgd
from embcheck.families.tied_training.oracle import Memory, Steps, representation, stepped

#: The format of factors whose products double precision holds.
_FACTOR = FORMATS["float32"]


class Exact(Rounded):
    """Values that are computed without rounding, and the sums of magnitudes of what was added up to them.

    What is computed of them goes to ``made``, which shows whether a format holds it all.
    """

    __slots__ = ("made", "size")

    def __init__(self, value: Floats | float, fmt: Format, size: Floats | float, made: list[Exact]) -> None:
        super().__init__(value, fmt)
        self.size, self.made = size, made

    def _of_size(self, value: Floats, size: Floats | float) -> Exact:
        self.made.append(Exact(value, self.fmt, size, self.made))
        return self.made[-1]

    def __add__(self, other: Exact) -> Exact:
        return self._of_size(self.value + other.value, self.size + other.size)

    def __sub__(self, other: Exact) -> Exact:
        return self._of_size(self.value - other.value, self.size + other.size)

    def __mul__(self, other: Exact) -> Exact:
        return self._of_size(self.value * other.value, self.size * other.size)

    def __neg__(self) -> Exact:
        return self._of_size(-self.value, self.size)


class _ExactMemory(Memory):
    """Of hyperparameters that a format holds."""

    def __init__(self, flags: Mapping[str, Any], fmt: Format, made: list[Exact]) -> None:
        super().__init__(flags, fmt)
        self.made = made

    def number(self, value: float) -> Exact:
        return Exact(value, self.fmt, abs(value), self.made)

    def scalar(self, value: float, *powers: float) -> Exact:
        return self.number(value)


def exact_sgd(steps: Steps, sent: Floats | None = None, part: float = 1.0) -> tuple[Floats, Floats] | None:
    """The weights after each step of SGD in exact arithmetic and their bounds, which are 0, or None if some intermediate value may
    not fit the format.

    What is ``sent``, shape ``(steps, V, D)``, are the magnitudes of a sparse gradient's duplicates together, which are added one
    by one; each is a multiple of ``part``.

    If each factor fits the format, and each value and each product is an integer multiple of one unit of which no sum of
    magnitudes exceeds 2^p, no operation rounds, in whatever order.  Double precision shows that only of products that it
    holds, which are those of at most 24 and 29 bits.
    """
    flags, weight, gradients, rates, fmt, turns = steps
    factors, precision = (
        (fmt, fmt.precision) if fmt.precision <= _FACTOR.precision else (_FACTOR, 53 - _FACTOR.precision)
    )
    keep = 1.0 - flags["dampening"]
    if any(representation(float(each), factors) for each in (flags["momentum"], keep, flags["weight_decay"], *rates)):
        return None  # a factor that is rounded itself makes no product exact, whatever double precision gives
    made: list[Exact] = []
    memories = [_ExactMemory(flags, fmt, made) for _ in range(turns)]
    start = Exact(weight, fmt, np.abs(weight), made)
    given = [
        None if each is None else Exact(each.value, fmt, np.abs(each.value) if sent is None else sent[k], made)
        for k, each in enumerate(gradients)
    ]
    after = stepped(sgd, memories, start, steps._replace(gradients=given))
    every = [start, *(each for each in given if each is not None), *made]
    finest = [each.value for each in every]
    for k, rate in enumerate(rates if sent is not None else ()):
        finest += [
            np.full_like(weight, each) for each in _duplicate(flags, part, rate, k // turns) if given[k] is not None
        ]
    largest = max(np.max(each.size, initial=0.0) for each in every)
    unit = 2.0 ** (math.ceil(math.log2(largest)) - precision) if largest else 1.0
    scaled = np.stack(finest) / unit
    if not (scaled == np.rint(scaled)).all():
        return None
    values = np.stack([each.value for each in after])
    return values, np.zeros_like(values)


def _duplicate(flags: Mapping[str, Any], part: float, rate: float, step: int) -> tuple[float, float]:
    """What a duplicate of the first step, by itself, makes of the gradient and of a later step."""
    momentum = float(flags["momentum"])
    carried = (momentum or 1.0) ** step * (1.0 - flags["dampening"] if momentum and step else 1.0)
    nested = momentum if flags["nesterov"] and momentum else 1.0
    return part * nested * carried, rate * part * nested * carried
