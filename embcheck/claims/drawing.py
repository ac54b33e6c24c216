"""Plots of what an experiment showed: values against the distributions that are claimed and true, and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Drawing
from embcheck.claims.distributions import named, numbers
from embcheck.core.outcome import Outcome
from embcheck.core.plot_data import Curve, Figure, Histogram, rounded
from embcheck.families.construction.cases import Spread

_BINS = 48
_POINTS = 193


def density(
    name: str, claimed: Callable[[ClaimCase], Spread], true: Callable[[ClaimCase], Spread] | None = None
) -> Drawing:
    """Draws the histogram of an observation with the density that is claimed of it, and the true one if that differs."""

    def draw(case: ClaimCase, out: Outcome) -> Figure:
        values = numbers(getattr(out, name)).reshape(-1)
        spreads = [spread(case) for spread in (claimed, true) if spread is not None]
        reach = max(float(np.abs(values).max()), *(abs(one.mean) + one.scale for one in spreads)) * 1.05
        heights, edges = np.histogram(values, _BINS, (-reach, reach), density=True)
        points = np.linspace(-reach, reach, _POINTS)
        size = f"{case.num_embeddings}×{case.embedding_dim}"
        curves = [
            Curve(f"{named(one)}{_role(k, len(spreads))}", rounded(points), rounded(one.density(points)), dashed=k == 0)
            for k, one in enumerate(spreads)
        ]
        bars = Histogram(f"{values.size:,} values, {size}", rounded(edges), rounded(heights))
        return Figure(f"First values: {case.situation}", "value", "density", tuple(curves), bars)

    return draw


def _role(place: int, of: int) -> str:
    return "" if of == 1 else (", claimed", ", true")[place]


def losses(title: str, names: Sequence[str], seen: str, every: str) -> Drawing:
    """Draws loss curves, shape ``(names, low-middle-high, points)``, one point for each entry of ``every``."""

    def draw(case: ClaimCase, out: Outcome) -> Figure:
        quantiles, steps = numbers(getattr(out, seen)), rounded(numbers(getattr(out, every)))
        curves = tuple(
            Curve(name, steps, rounded(middle), rounded(low), rounded(high))
            for name, (low, middle, high) in zip(names, quantiles, strict=True)
        )
        place = f": {case.situation}" if case.situation else ""
        return Figure(f"{title}{place}", "step", "loss", curves, logarithmic=True)

    return draw
