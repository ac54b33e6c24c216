"""Plots of what an experiment showed: values against the distributions that are claimed and true, and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Drawing
from embcheck.claims.distributions import measured, named, numbers
from embcheck.core.outcome import Outcome
from embcheck.core.plot_data import Curve, Figure, Histogram, rounded
from embcheck.families.construction.cases import Spread

_BINS, _POINTS = 48, 193


def drawn_from(*spreads: Callable[[ClaimCase], Spread]) -> dict[str, Any]:
    """Tells how far values are from the claimed distribution, and from the true one where that differs, and draws their
    histogram with these densities."""

    def draw(case: ClaimCase, out: Outcome) -> Figure:
        values, found = numbers(out.values).reshape(-1), [spread(case) for spread in spreads]
        reach = max(float(np.abs(values).max()), *(abs(one.mean) + one.scale for one in found)) * 1.05
        heights, edges = np.histogram(values, _BINS, (-reach, reach), density=True)
        points = np.linspace(-reach, reach, _POINTS)
        roles = ("",) if len(found) == 1 else (", claimed", ", true")
        curves = tuple(
            Curve(named(one) + role, rounded(points), rounded(one.density(points)), dashed=one is found[0])
            for one, role in zip(found, roles, strict=True)
        )
        size = f"{values.size:,} values, {case.num_embeddings}×{case.embedding_dim}"
        bars = Histogram(size, rounded(edges), rounded(heights))
        return Figure(f"First values: {case.situation}", "value", "density", curves, bars)

    return {"tells": measured(*spreads), "draws": draw}


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
