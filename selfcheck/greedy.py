"""Chooses what adds most for its cost, one after the other, until a budget is spent."""

import heapq
import math
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

#: The positions of what a case meets.
Hits = npt.NDArray[np.int32]
#: How many cases meet each.
Counts = npt.NDArray[np.int64]


def add(
    costs: Sequence[float],
    hits: Sequence[Hits],
    had: Counts,
    budget: float,
    worths: npt.ArrayLike,
    taken: Collection[int] = (),
    most: float = math.inf,
) -> list[int]:
    """The cases, by position, that are added to those taken: always what adds most for its cost, until a budget is spent, with
    what was taken, or so many are added.

    What a case meets is worth less each time that it is met again: ``worths`` are those of the first, second … time, in a row for
    each if they differ.  ``had`` is how often each was met, and then is.  What a case adds only falls as others are taken, so that
    it is looked at again only once it comes up.
    """
    given = np.asarray(worths, np.float64)
    worth = np.append(given, np.zeros((*given.shape[:-1], 1)), axis=-1)
    worth = np.broadcast_to(worth, (len(had), worth.shape[-1]))

    def rank(position: int) -> float:
        met = hits[position]
        return -float(worth[met, np.minimum(had[met], worth.shape[-1] - 1)].sum()) / costs[position]

    spent, added = sum(costs[position] for position in taken), list[int]()
    heap = [(rank(position), position) for position in set(range(len(costs))).difference(taken)]
    heapq.heapify(heap)
    while heap and spent < budget and len(added) < most:
        _, position = heapq.heappop(heap)
        now = rank(position)
        if heap and now > heap[0][0]:
            heapq.heappush(heap, (now, position))
        elif now < 0:
            added.append(position)
            np.add.at(had, hits[position], 1)
            spent += costs[position]
    return added
