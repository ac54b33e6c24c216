"""What torch gives instead, where a ledger entry can say it more narrowly than by a kind of difference.

Each function tells whether a difference on a case is no other than what is known; an entry names one in ``instead``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import numpy as np

from embcheck.bound import gamma
from embcheck.format import Floats
from embcheck.oracle import accumulate
from embcheck.result import Difference, Elements

Instead = Callable[[Any, Difference], bool]

INSTEAD: dict[str, Instead] = {}


def instead(wanted: Instead) -> Instead:
    """Registers a judgement under its name, in words."""
    INSTEAD[wanted.__name__.replace("_", " ")] = wanted
    return wanted


def of_elements(wanted: Callable[[Any, Elements], Any]) -> Instead:
    """A judgement of a tensor's elements; of what is no tensor it says no."""

    @wraps(wanted)
    def judge(case: Any, found: Difference) -> bool:
        return found.elements is not None and bool(wanted(case, found.elements))

    return instead(judge)


@of_elements
def zero(case: Any, seen: Elements) -> Any:
    """Zeros stand where something else should."""
    return not np.any(seen.got[seen.differ])


@of_elements
def where_zeros_are_due(case: Any, seen: Elements) -> Any:
    """Something stands where zeros should, as at padding, and nowhere else."""
    return not np.any(seen.expected[seen.differ])


@of_elements
def cut_short(case: Any, seen: Elements) -> Any:
    """Sums of ones that end too early: less than is due, and more than nothing."""
    got, expected = seen.got[seen.differ], seen.expected[seen.differ]
    return ((got > 0) & (got < expected)).all()


@of_elements
def the_table_as_it_was(case: Any, seen: Elements) -> Any:
    """The table is the one that was given, of which rows should have been rescaled."""
    return np.array_equal(seen.got, np.broadcast_to(case.weight, seen.got.shape))


@of_elements
def undivided(case: Any, seen: Elements) -> Any:
    """The gradient of a gradient is the row of each token that counts, not divided by how often the token is there."""
    return _are(seen, np.where(case.counted[:, None], case.weight_values[case.tokens], 0.0))


@of_elements
def plain_rows(case: Any, seen: Elements) -> Any:
    """The gradient of a gradient is the row of each token, also of padding, and not divided."""
    return _are(seen, case.weight_values[case.tokens])


def _are(seen: Elements, rows: Floats) -> bool:
    return seen.got.size == rows.size and np.array_equal(seen.got, rows.reshape(seen.got.shape), equal_nan=True)


@of_elements
def scattered_plainly(case: Any, seen: Elements) -> Any:
    """The gradient is that of a table without padding_idx and without scale_grad_by_freq."""
    upstream = case.upstream_values
    value, terms = (accumulate(case.tokens, case.num_embeddings, each) for each in (upstream, np.abs(upstream)))
    with np.errstate(invalid="ignore"):
        limit = gamma(case.counts[:, None] + 1, case.format.unit_roundoff) * terms
        near = (seen.got == value) | (np.abs(seen.got - value) <= limit) | (np.isnan(seen.got) & np.isnan(value))
    return near.all()


@instead
def other_sizes_behind_the_first(case: Any, found: Difference) -> bool:
    """Of several outputs, each (sizes, dtype, graph), those behind the first have other sizes, and nothing else differs."""
    got, expected = found.got, found.expected
    if not (isinstance(got, list) and isinstance(expected, list)) or len(got) != len(expected):
        return False
    return bool(got[0] == expected[0] and all(one[1:] == other[1:] for one, other in zip(got, expected, strict=True)))
