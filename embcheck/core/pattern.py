"""Which rows are looked up: patterns of token values, and indices just outside the table.

Each pattern is a function ``(numel, num_embeddings, padding_row, seed) -> int64 array of shape (numel,)``.  What
they are for: equal counts hide a wrong divisor, adjacency hides a lost duplicate, a batch without or of nothing but
padding takes another path, and the first and last rows are where bounds are off by one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.registry import into

Ints = npt.NDArray[np.int64]
Pattern = Callable[[int, int, "int | None", int], Ints]

PATTERNS: dict[str, Pattern] = {}


_pattern = into(PATTERNS)


@_pattern
def cycle(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """0, 1, 2, … and again."""
    return np.arange(numel, dtype=np.int64) % max(rows, 1)


@_pattern
def same(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """One row for all tokens."""
    return np.full(numel, seed % max(rows, 1), np.int64)


@_pattern
def padding(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Nothing but padding (the last row where there is none)."""
    return np.full(numel, max(rows, 1) - 1 if padding is None else padding, np.int64)


@_pattern
def uniform(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Every row alike."""
    return stream.below(stream.derive("uniform", seed), numel, max(rows, 1))


@_pattern
def unpadded(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Every row but the padding row."""
    if padding is None or rows < 2:
        return uniform(numel, rows, padding, seed)
    return (stream.below(stream.derive("unpadded", seed), numel, rows - 1) + padding + 1) % rows


@_pattern
def skewed(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """A few rows often, most seldom, as words in a text are."""
    share = (stream.words(stream.derive("skewed", seed), numel) >> np.uint64(11)) / 2.0**53
    return np.minimum((share**4 * rows).astype(np.int64), max(rows, 1) - 1)


@_pattern
def unequal(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """One row once, another twice, a third for all the rest, interleaved."""
    rows = max(rows, 1)
    tokens = np.full(numel, (seed + 2) % rows, np.int64)
    tokens[numel // 2 : numel // 2 + 1] = seed % rows
    tokens[numel // 3 : numel // 3 + 1] = (seed + 1) % rows
    tokens[-1:] = (seed + 1) % rows
    return tokens


@_pattern
def ascending(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Sorted, with runs."""
    return np.sort(uniform(numel, rows, padding, seed))


@_pattern
def descending(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Sorted the other way."""
    return ascending(numel, rows, padding, seed)[::-1].copy()


@_pattern
def permutation(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Every row once, in some order, before any row comes again."""
    return np.resize(stream.order(stream.derive("permutation", seed), max(rows, 1)), numel)


@_pattern
def ends(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """The first and the last row in turn."""
    return np.where(np.arange(numel) % 2 == 0, max(rows, 1) - 1, 0).astype(np.int64)


@_pattern
def pairs(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Runs of two equal tokens: adjacent duplicates."""
    return (np.arange(numel, dtype=np.int64) // 2 + seed) % max(rows, 1)


@_pattern
def late_padding(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """Sequences that end in padding, as batches of texts do."""
    tokens = unpadded(numel, rows, padding, seed)
    if padding is not None:
        tokens[-(-2 * numel // 3) :] = padding
    return tokens


#: Indices outside ``[0, num_embeddings)``, just so and far so.
STRAYS: dict[str, Callable[[int], int]] = {
    "-1": lambda rows: -1,
    "V": lambda rows: rows,
    "-V": lambda rows: -max(rows, 1),
    "-V-1": lambda rows: -rows - 1,
    "V+1": lambda rows: rows + 1,
    "2V": lambda rows: 2 * rows + 1,
    "2^31-1": lambda rows: 2**31 - 1,
    # Cut to 32 bits this is the first row.
    "2^32": lambda rows: 2**32,
}


def stray_of(name: str, rows: int, index_dtype: str = "int64") -> int:
    """An index outside a table of so many rows; what the dtype of the indices can't hold is its largest number."""
    return min(STRAYS[name](rows), 2**31 - 1 if index_dtype != "int64" else 2**63 - 1)


def occurrence(tokens: Ints) -> Ints:
    """For each token, how many equal tokens come before it, shape ``(numel,)``."""
    order = np.argsort(tokens, kind="stable")
    ordered = tokens[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.arange(len(tokens)) - np.repeat(starts, np.diff(np.r_[starts, len(tokens)]))
    result = np.empty(len(tokens), np.int64)
    result[order] = rank
    return result
