"""Covers: rows in which every combination of values of any t axes occurs."""

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from embcheck.core import stream

Rows = npt.NDArray[np.int64]
#: For each group of axes which combinations of their values there are; shape: the sizes of these axes.
Combinations = dict[tuple[int, ...], npt.NDArray[np.bool_]]


@lru_cache(maxsize=64)  # for every part of an item takes its cases from the same rows
def covering_rows(sizes: tuple[int, ...], strength: int, seed: int, extra_rows: int = 4) -> Rows:
    """Rows of axis positions in which every combination of any ``strength`` axes' values occurs.

    Shape ``(rows, len(sizes))``.  ``extra_rows`` times as many seeded rows as no cover can do without come first; then rows
    that are packed with what these lack, their free places seeded.
    """
    strength = min(strength, len(sizes))
    spare = extra_rows * math.prod(sorted(sizes)[-strength:])
    rows = _seeded_rows(sizes, spare, stream.derive(seed, "cover", strength))
    packed = _packed(_met(rows, sizes, strength), len(sizes))
    free = _seeded_rows(sizes, len(packed), stream.derive(seed, "complete"))
    return np.concatenate([rows, np.where(packed < 0, free, packed)])


def lacking(rows: Rows, sizes: tuple[int, ...], strength: int) -> Iterator[tuple[list[int], list[int]]]:
    """The axes and the places of each combination of ``strength`` values that no row has; not of one with two that none has
    together, which is as good as impossible."""
    parts = _met(rows, sizes, strength - 1)
    for group, met in _met(rows, sizes, strength).items():
        found = ~met
        for left_out, part in enumerate(itertools.combinations(group, strength - 1) if strength > 2 else ()):
            found &= np.expand_dims(parts[part], strength - 1 - left_out)
        for values in np.argwhere(found).tolist():
            yield list(group), values


def _met(rows: Rows, sizes: tuple[int, ...], strength: int) -> Combinations:
    """The combinations of ``strength`` values that some rows have, in which -1 is no value."""
    found = {}
    for group in itertools.combinations(range(len(sizes)), strength):
        places = rows[:, list(group)]
        found[group] = np.zeros([sizes[k] for k in group], np.bool_)
        found[group][tuple(places[(places >= 0).all(1)].T)] = True
    return found


def _packed(met: Combinations, width: int) -> Rows:
    """Rows that contain what is not met, each combination in the first row that it fits; -1 where any value does."""
    unmet = sum(int(np.count_nonzero(~had)) for had in met.values())
    rows, used = np.full((unmet, width), -1), 0
    # The largest groups decide how many rows there are; the others find room in them.
    for group, had in sorted(met.items(), key=lambda each: -each[1].size):
        columns = list(group)
        for values in np.argwhere(~had):
            open_rows = rows[:used, columns]
            fits = ((open_rows == values) | (open_rows < 0)).all(1)
            at = int(fits.argmax()) if fits.any() else used
            used = max(used, at + 1)
            rows[at, columns] = values
    return rows[:used]


def _seeded_rows(sizes: tuple[int, ...], count: int, seed: int) -> Rows:
    columns = [stream.below(stream.derive(seed, axis), count, size) for axis, size in enumerate(sizes)]
    return np.stack(columns, axis=1)
