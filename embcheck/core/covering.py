"""Covers: rows in which every combination of values of any t axes occurs."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from embcheck.core import stream

Rows = npt.NDArray[np.int64]


@lru_cache(maxsize=64)  # for every part of an item takes its cases from the same rows
def covering_rows(sizes: tuple[int, ...], strength: int, seed: int, extra_rows: int = 4) -> Rows:
    """Rows of axis positions in which every combination of any ``strength`` axes' values occurs.

    Shape ``(rows, len(sizes))``.  ``extra_rows`` times as many seeded rows as no cover can do without come first; then rows
    that are packed with what these lack, their free places seeded.
    """
    strength = min(strength, len(sizes))
    groups = list(itertools.combinations(range(len(sizes)), strength))
    seen = [np.zeros(math.prod(sizes[k] for k in group), np.bool_) for group in groups]
    spare = extra_rows * math.prod(sorted(sizes)[-strength:])
    rows = _seeded_rows(sizes, spare, stream.derive(seed, "cover", strength))
    for group, hit in zip(groups, seen, strict=True):
        code = np.zeros(len(rows), np.int64)
        for axis in group:
            code = code * sizes[axis] + rows[:, axis]
        hit[code] = True
    packed = _packed(groups, sizes, seen)
    free = _seeded_rows(sizes, len(packed), stream.derive(seed, "complete"))
    return np.concatenate([rows, np.where(packed < 0, free, packed)])


def _packed(groups: list[tuple[int, ...]], sizes: tuple[int, ...], seen: list[npt.NDArray[np.bool_]]) -> Rows:
    """Rows that contain what was not seen, each combination in the first row that it fits; -1 where any value does."""
    lacking = sum(int(np.count_nonzero(~hit)) for hit in seen)
    rows, used = np.full((lacking, len(sizes)), -1), 0
    # The largest groups decide how many rows there are; the others find room in them.
    for group, hit in sorted(zip(groups, seen, strict=True), key=lambda pair: -len(pair[1])):
        place, columns = [sizes[k] for k in group], list(group)
        for values in np.stack(np.unravel_index(np.flatnonzero(~hit), place), axis=1):
            open_rows = rows[:used, columns]
            fits = ((open_rows == values) | (open_rows < 0)).all(1)
            at = int(fits.argmax()) if fits.any() else used
            used = max(used, at + 1)
            rows[at, columns] = values
    return rows[:used]


def _seeded_rows(sizes: tuple[int, ...], count: int, seed: int) -> Rows:
    columns = [stream.below(stream.derive(seed, axis), count, size) for axis, size in enumerate(sizes)]
    return np.stack(columns, axis=1)
