"""Chooses what adds most for its cost, one after the other, until a budget is spent."""

import heapq
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

K = TypeVar("K", bound=Any)
#: The positions of what a case meets.
Hits = npt.NDArray[np.int32]
#: How many cases meet each.
Counts = npt.NDArray[np.int64]


def choose(
    costs: Mapping[K, float],
    taken: Collection[K],
    gain: Callable[[K], float],
    take: Callable[[K], None],
    budget: float,
    most: float = math.inf,
) -> float:
    """Takes what is not taken yet, always what adds most for its cost, until a budget is spent or so many are taken; what is spent,
    with what was taken.

    What each adds only falls as others are taken, so that it is looked at again only once it comes up.
    """
    spent = sum(costs[key] for key in taken)
    heap = [(-gain(key) / costs[key], key) for key in costs.keys() - taken]
    heapq.heapify(heap)
    while heap and spent < budget and most > 0:
        _, key = heapq.heappop(heap)
        now = -gain(key) / costs[key]
        if heap and now > heap[0][0]:
            heapq.heappush(heap, (now, key))
        elif now < 0:
            take(key)
            spent += costs[key]
            most -= 1
    return spent


def add(
    costs: Sequence[float],
    hits: Sequence[Hits],
    had: Counts,
    budget: float,
    worths: Sequence[float],
    taken: Collection[int] = (),
) -> list[int]:
    """The cases, by position, that are added to those taken by what they meet, which is worth less each time that it is met again;
    ``had`` is how often it was, and then is."""
    worth, added = np.array([*worths, 0.0]), list[int]()

    def take(position: int) -> None:
        added.append(position)
        had[hits[position]] += 1

    def gain(position: int) -> float:
        return float(worth[np.minimum(had[hits[position]], len(worths))].sum())

    choose(dict(enumerate(costs)), taken, gain, take, budget)
    return added


def counted(hits: Iterable[Hits], size: int) -> Counts:
    """How many cases meet each of so many conditions."""
    return np.bincount(np.concatenate([*hits, np.zeros(0, np.int32)]), minlength=size)
