"""Distributions that values are claimed to be drawn from, what tells whether they are, and plots of values and of losses."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Drawing
from embcheck.core.outcome import Field, Outcome
from embcheck.core.plot_data import Curve, Figure, Histogram, rounded
from embcheck.core.result import Difference, Finding, Holds
from embcheck.families.initializers.oracle import DELTA, Spread, allowed_distance, distance, distance_in_torch

_BINS, _POINTS = 48, 193


def normal(case: ClaimCase) -> Spread:
    return Spread(0.0, 1.0, False)


def by_width(case: ClaimCase) -> Spread:
    """U(−√(1/d), √(1/d))."""
    return Spread(0.0, case.embedding_dim**-0.5, True)


def xavier(case: ClaimCase) -> Spread:
    """U(±√(6/(V + d)))."""
    return Spread(0.0, math.sqrt(6 / (case.num_embeddings + case.embedding_dim)), True)


def kaiming(case: ClaimCase) -> Spread:
    """U(±√(6/d))."""
    return Spread(0.0, math.sqrt(6 / case.embedding_dim), True)


def from_zero_to_one(case: ClaimCase) -> Spread:
    return Spread(0.5, 0.5, True)


def around_zero(case: ClaimCase) -> Spread:
    """U(−1, 1)."""
    return Spread(0.0, 1.0, True)


def is_normal(case: ClaimCase, out: Outcome) -> Finding:
    """N(0, 1)."""
    return distributed(out.values, normal(case), case)


def distributed(got: Field, spread: Spread, case: ClaimCase) -> Finding:
    """The elements are drawn from a distribution: Kolmogorov and Smirnov's distance is within the bound of Dvoretzky,
    Kiefer and Wolfowitz, which a correct generator exceeds with a probability below 1e-13."""
    values = got.values
    far, most = distance(values, spread), allowed_distance(values.size, case.format)
    if far <= most:
        return Holds(float(far / most))
    words = f"distance {far:.3g} from {named(spread)}, at most {most:.3g} by chance (error {DELTA:g})"
    return Difference("distribution", distance_in_torch(got.path, values.size, spread), far, 0.0, words, most)


def named(spread: Spread) -> str:
    """A distribution as one writes it."""
    if spread.uniform:
        return f"U({spread.mean - spread.scale:.3g}, {spread.mean + spread.scale:.3g})"
    return f"N({spread.mean:g}, {spread.scale**2:.3g})"


def drawn_from(*spreads: Callable[[ClaimCase], Spread]) -> dict[str, Any]:
    """Tells how far values are from the claimed distribution, and from the true one where that differs, and draws their
    histogram with these densities."""

    def tell(case: ClaimCase, out: Outcome) -> str:
        values, most = out.values.values, allowed_distance(out.values.values.size, case.format)
        distances = [f"distance {distance(values, spread(case)):.3f} from {named(spread(case))}" for spread in spreads]
        size = f"{case.num_embeddings}×{case.embedding_dim}"
        measured = f"{size}: std {values.std():.3f}, max {abs(values).max():.2f}"
        return f"{measured}; {', '.join(distances)}; {most:.3f} may be chance"

    def draw(case: ClaimCase, out: Outcome) -> Figure:
        values, found = out.values.values.reshape(-1), [spread(case) for spread in spreads]
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

    return {"tells": tell, "draws": draw}


def losses(title: str, names: Sequence[str], seen: str, every: str) -> Drawing:
    """Draws loss curves, shape ``(names, low-middle-high, points)``, one point for each entry of ``every``."""

    def draw(case: ClaimCase, out: Outcome) -> Figure:
        quantiles, steps = getattr(out, seen).values, rounded(getattr(out, every).values)
        curves = tuple(
            Curve(name, steps, rounded(middle), rounded(low), rounded(high))
            for name, (low, middle, high) in zip(names, quantiles, strict=True)
        )
        place = f": {case.situation}" if case.situation else ""
        return Figure(f"{title}{place}", "step", "loss", curves, logarithmic=True)

    return draw
