"""Which rows are looked up: patterns of token values, and indices just outside the table.

Each pattern is a function ``(numel, num_embeddings, padding_row, seed) -> int64 array of shape (numel,)``.  What
they are for: equal counts hide a wrong divisor, adjacency hides a lost duplicate, a batch without or of nothing but
padding takes another path, and the first and last rows are where bounds are off by one.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from embcheck.core import stream

Ints = npt.NDArray[np.int64]
Pattern = Callable[[int, int, "int | None", int], Ints]


def _uniform(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    return stream.below(stream.derive("uniform", seed), numel, max(rows, 1))


def _unpadded(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    if padding is None or rows < 2:
        return _uniform(numel, rows, padding, seed)
    return (stream.below(stream.derive("unpadded", seed), numel, rows - 1) + padding + 1) % rows


def _skewed(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    share = (stream.words(stream.derive("skewed", seed), numel) >> np.uint64(11)) / 2.0**53
    return np.minimum((share**4 * rows).astype(np.int64), max(rows, 1) - 1)


def _unequal(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    rows = max(rows, 1)
    tokens = np.full(numel, (seed + 2) % rows, np.int64)
    tokens[numel // 2 : numel // 2 + 1] = seed % rows
    tokens[numel // 3 : numel // 3 + 1] = (seed + 1) % rows
    tokens[-1:] = (seed + 1) % rows
    return tokens


def _late_padding(numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    tokens = _unpadded(numel, rows, padding, seed)
    if padding is not None:
        tokens[-(-2 * numel // 3) :] = padding
    return tokens


PATTERNS: dict[str, Pattern] = {
    # 0, 1, 2, … and again.
    "cycle": lambda numel, rows, padding, seed: np.arange(numel, dtype=np.int64) % max(rows, 1),
    # One row for all tokens.
    "same": lambda numel, rows, padding, seed: np.full(numel, seed % max(rows, 1), np.int64),
    # Nothing but padding (the last row where there is none).
    "padding": lambda numel, rows, padding, seed: np.full(
        numel, max(rows, 1) - 1 if padding is None else padding, np.int64
    ),
    # Every row alike, and every row but the padding row.
    "uniform": _uniform,
    "unpadded": _unpadded,
    # A few rows often, most seldom, as words in a text are.
    "skewed": _skewed,
    # One row once, another twice, a third for all the rest, interleaved.
    "unequal": _unequal,
    # Sorted, with runs, and sorted the other way.
    "ascending": lambda *asked: np.sort(_uniform(*asked)),
    "descending": lambda *asked: np.sort(_uniform(*asked))[::-1].copy(),
    # Every row once, in some order, before any row comes again.
    "permutation": lambda numel, rows, padding, seed: np.resize(
        stream.order(stream.derive("permutation", seed), max(rows, 1)), numel
    ),
    # The first and the last row in turn.
    "ends": lambda numel, rows, padding, seed: np.where(np.arange(numel) % 2, 0, max(rows, 1) - 1).astype(np.int64),
    # Runs of two equal tokens: adjacent duplicates.
    "pairs": lambda numel, rows, padding, seed: (np.arange(numel, dtype=np.int64) // 2 + seed) % max(rows, 1),
    # Sequences that end in padding, as batches of texts do.
    "late_padding": _late_padding,
}

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
