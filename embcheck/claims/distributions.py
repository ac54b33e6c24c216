"""Distributions that values are claimed to be drawn from, and what tells whether they are."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from embcheck.claims.case import ClaimCase
from embcheck.claims.claim import Telling
from embcheck.core.format import Floats
from embcheck.core.outcome import Field, Outcome
from embcheck.core.result import Difference, Finding, Holds
from embcheck.families.construction.cases import DELTA, Spread, allowed_distance, distance, distance_in_torch


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
    """U(0, 1)."""
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
    values = numbers(got)
    far, most = distance(values, spread), allowed_distance(values.size, case.format)
    if far <= most:
        return Holds(float(far / most))
    words = f"distance {far:.3g} from {named(spread)}, at most {most:.3g} by chance (error {DELTA:g})"
    return Difference("distribution", distance_in_torch(got.path, values.size, spread), far, 0.0, words, most)


def numbers(got: Field) -> Floats:
    """An observation's elements in float64."""
    return np.asarray(got.values, np.float64)


def named(spread: Spread) -> str:
    """A distribution as one writes it."""
    if spread.uniform:
        return f"U({spread.mean - spread.scale:.3g}, {spread.mean + spread.scale:.3g})"
    return f"N({spread.mean:g}, {spread.scale**2:.3g})"


def measured(*spreads: Callable[[ClaimCase], Spread]) -> Telling:
    """Tells deviation and range of the values, and their distance from distributions."""

    def tell(case: ClaimCase, out: Outcome) -> str:
        values = numbers(out.values)
        distances = [f"distance {distance(values, spread(case)):.3f} from {named(spread(case))}" for spread in spreads]
        most = allowed_distance(values.size, case.format)
        return (
            f"{case.num_embeddings}×{case.embedding_dim}: std {values.std():.3f}, max {abs(values).max():.2f}; "
            f"{', '.join(distances)}; {most:.3f} may be chance"
        )

    return tell
