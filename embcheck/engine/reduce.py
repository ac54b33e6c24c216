"""One reducer for all engines: greedy descent over a case's simpler neighbours.

A neighbour is taken when it still fails in the same way; then the descent starts again from it.  What "fails in the
same way" means is the caller's: the engine keeps the kind of difference and stays out of the ledger's regions, so
that a new violation is not reduced into a known one.
"""

import time
from collections.abc import Callable
from typing import Any

from embcheck.core.axes import Axes
from embcheck.core.space import Space


def size(case: Axes) -> tuple[int, ...]:
    """How large a case is: elements first, then how many axes are off their defaults, then how long it prints."""
    facts = case.axes
    numbers = [facts.get("num_embeddings", 0), facts.get("embedding_dim", 0), getattr(case, "numel", 0)]
    off = sum(1 for name, value in facts.items() if case._field_defaults.get(name, value) != value)
    return (sum(numbers), off, len(repr(case)))


def reduce_case(
    case: Any, space: Space, still_fails: Callable[[Any], bool], *, tries: int = 600, seconds: float = 5.0
) -> tuple[Any, int]:
    """The smallest case found that still fails, and how many candidates were tried.

    Stops after ``tries`` candidates or ``seconds``; what it has by then is still a failing case.
    """
    end = time.monotonic() + seconds
    tried = 0
    refuted: set[Any] = {case}
    progress = True
    while progress:
        progress = False
        for candidate in space.reductions(case):
            if candidate in refuted or size(candidate) >= size(case):
                continue
            if tried >= tries or time.monotonic() > end:
                return case, tried
            refuted.add(candidate)
            if not _is_whole(candidate):
                continue
            tried += 1
            if still_fails(candidate):
                case, progress = candidate, True
                break
    return case, tried


def _is_whole(case: Axes) -> bool:
    """Whether a case's facts can be computed: a simpler neighbour may have a table that is too small for its tokens."""
    try:
        case.facts()
    except Exception:
        return False
    return True
