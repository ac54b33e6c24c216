"""What a wrong sum looks like: as if one of its terms had been added another number of times."""

from collections.abc import Sequence

import numpy as np

from embcheck.core.format import Floats

#: How much oftener than it should a term is looked for.
_OFTENER = 4


def as_if(departure: Floats, terms: Floats, due: Sequence[int]) -> tuple[int, int] | None:
    """Which of ``terms``, shape (n, D), added how often, instead of as often as it is ``due``, gives a sum that is off by
    ``departure``, shape (D,); None if none does, or if several do, since then nothing tells which it was."""
    found: set[tuple[int, int]] = set()
    if not departure.any() or not np.isfinite(departure).all():
        return None
    for position, term in enumerate(terms):
        if not term.any() or not np.isfinite(term).all():
            continue
        column = int(np.abs(term).argmax())
        times = float(departure[column] / term[column])
        if times.is_integer() and -due[position] <= times <= _OFTENER and np.array_equal(departure, times * term):
            found.add((position, due[position] + int(times)))
    return found.pop() if len(found) == 1 else None


def often(times: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(times, f"{times} times")
