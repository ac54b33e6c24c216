"""L-BFGS on a quadratic function as a case; knows no torch.

On ½c|x|² every direction is a multiple of x, so the curvature that L-BFGS estimates from any history is c.  Its first
iteration takes t = min(1, 1/|g|₁)·lr along −g (Liu and Nocedal's scaling of the first step), every further one lr of the
way to the minimum: x shrinks by 1 − t·c, then by 1 − lr.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from embcheck.core import bound, stream
from embcheck.core.axes import Axes, Input
from embcheck.core.format import FORMATS, Floats


class _QuasiNewtonAxes(NamedTuple):
    """The axes, simplest value first."""

    shape: tuple[int, int] = (2, 2)
    #: elements beside the table's
    beside: int = 0
    lr: float = 0.5
    iterations: int = 3
    history: int = 100
    curvature: float = 1.0
    tolerance: float = 0.0
    #: max_eval: enough, what it is by default, or two
    evaluations: str = "enough"
    steps: int = 2
    #: whether each step is taken by an optimizer that loaded the state of the one before
    reloaded: bool = False
    line_search: bool = False
    dtype: str = "float32"
    seed: int = 0


class LBFGSCase(Axes, _QuasiNewtonAxes):  # type: ignore[misc]
    """``steps`` steps of up to ``iterations`` iterations."""

    @property
    def elements(self) -> int:
        """How many numbers are minimized."""
        return self.shape[0] * self.shape[1] + self.beside

    @property
    def flags(self) -> dict[str, Any]:
        """What the optimizer is made with."""
        found: dict[str, Any] = {"lr": self.lr, "max_iter": self.iterations, "history_size": self.history}
        found |= {"tolerance_grad": self.tolerance, "tolerance_change": 0.0}
        if self.evaluations != "default":
            found["max_eval"] = self.most
        return found | ({"line_search_fn": "strong_wolfe"} if self.line_search else {})

    @property
    def most(self) -> int:
        """How often a closure may be evaluated in a step: of a line search, 25 times."""
        return {"enough": 30 * self.iterations, "default": self.iterations * 5 // 4, "two": 2}[self.evaluations]

    @cached_property
    def scales(self) -> tuple[Floats, Floats]:
        """By what x is smaller after each step, and how far rounding may take it from there, shape ``(steps,)`` each.

        Each pair of the history costs four roundings, the sums over all elements one each, and the difference of two
        gradients magnifies theirs by up to four times as many as there are elements, after the first step.  What is off
        shrinks in the next iteration as everything does.
        """
        scale, off, taken = 1.0, 0.0, 0
        found = []
        for _ in range(self.steps):
            for _ in range(self.iterations):
                if self.curvature * abs(scale) <= self.tolerance:
                    break
                part = self.lr if taken else self.lr * min(self.curvature, 1 / self.elements)
                roundings = 4 * (min(taken, self.history) + 1) + 8 * self.elements + 16
                off = (1 - part) * off + float(bound.gamma(roundings, FORMATS[self.dtype].unit_roundoff)) * (
                    abs(scale) + off
                )
                scale *= 1 - part
                taken += 1
            found.append((scale, off))
        scales, offs = np.array(found).T
        return scales, offs

    @cached_property
    def signs(self) -> tuple[Floats, Floats]:
        """x at first: the table, and what is beside it."""
        words = stream.words(stream.derive("quasi-newton", self.seed % 16), self.elements)
        signs = np.where(words >> np.uint64(63), -1.0, 1.0)
        table = self.shape[0] * self.shape[1]
        return signs[:table].reshape(self.shape), signs[table:]

    @property
    def losses(self) -> tuple[Floats, Floats]:
        """½c|x|² before each step, and how far rounding may take it from there."""
        before, off = (np.r_[first, each[:-1]] for first, each in zip((1.0, 0.0), self.scales, strict=True))
        half = 0.5 * self.curvature * self.elements
        roundings = bound.gamma(self.elements + 8, FORMATS[self.dtype].unit_roundoff)
        return half * before**2, half * ((2 * np.abs(before) + off) * off + roundings * (np.abs(before) + off) ** 2)

    def inputs(self) -> dict[str, Input]:
        """What is fed: weight and bias."""
        fmt = FORMATS[self.dtype]
        return {
            name: Input(fmt.encode(values), self.dtype)
            for name, values in zip(("weight", "bias"), self.signs, strict=True)
        }

    def facts(self) -> dict[str, Any]:
        """The axes and: forgets (there are more iterations than the history holds), stops (a tolerance is reached)."""
        taken = self.steps * self.iterations
        return {
            **self.axes,
            "forgets": not self.line_search and taken > self.history + 1,
            "stops": self.tolerance > 0 and self.curvature * abs(float(self.scales[0][-1])) <= self.tolerance,
        }
