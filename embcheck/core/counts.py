"""Tokens with given counts: how often the most frequent row occurs, how often padding does, and in which order they come.

Thresholds of kernels lie in such counts (a row's tokens are summed in segments, padding is skipped), and no pattern that is
drawn token by token meets them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from embcheck.core import stream
from embcheck.core.pattern import PATTERNS

Ints = npt.NDArray[np.int64]

#: Tokens shuffled, each row's tokens in one run, and from the last row to the first.
ORDERS = ("mixed", "runs", "descending")
_HEAD = "counts"


class Counts(NamedTuple):
    """What is asked of tokens; −1 is whatever comes, 0 of ``most`` likewise.

    ``equal`` says whether all rows that occur do so alike often, ``first`` and ``last`` whether those rows occur; the tokens
    are ``copies`` of the same ones, as positions are for a batch, or each of them comes ``repeats`` times in turn; the counts are
    those of one copy.
    """

    most: int = 0
    padding: int = -1
    order: str = "mixed"
    equal: int = -1
    first: int = -1
    last: int = -1
    copies: int = 1
    repeats: int = 1

    @property
    def name(self) -> str:
        """The pattern's name, such as ``counts most=20 padding=16 order=runs``."""
        told = zip(self._fields, self, self._field_defaults.values(), strict=True)
        return " ".join([_HEAD, *(f"{name}={value}" for name, value, usual in told if value != usual)])

    @classmethod
    def of(cls, name: str) -> Counts | None:
        """What a pattern's name says; None of one that is not made of counts.

        Raises:
            ValueError: for a name that says something else than `Counts` has.
        """
        head, *parts = name.split()
        if head != _HEAD:
            return None
        told = dict(part.split("=") for part in parts)
        if not told.keys() <= set(cls._fields) or told.get("order", "mixed") not in ORDERS:
            raise ValueError(
                f"no pattern {name!r}; it may say {', '.join(cls._fields)}, of which order is one of {ORDERS}"
            )
        return cls(**{key: value if key == "order" else int(value) for key, value in told.items()})  # type: ignore[arg-type]

    @lru_cache(maxsize=8)  # noqa: B019  (what aims at a case makes its tokens just before the case does)
    def tokens(self, numel: int, rows: int, padding: int | None, seed: int) -> Ints:
        """So many tokens of a table; where not all that is asked can be had, some that come close.  Shape ``(numel,)``; do
        not write to them."""
        times = self.copies * self.repeats
        parts = times if numel % times == 0 else 1
        one = self._once(numel // parts, rows, padding, seed)
        found = np.tile(np.repeat(one, self.repeats), self.copies) if parts > 1 else one
        found.flags.writeable = False
        return found

    def _once(self, numel: int, rows: int, padding: int | None, seed: int) -> Ints:
        rows = max(rows, 1)
        counts = self._counts(numel, rows, padding, seed)
        order = _shuffle(seed, "rows", rows)
        match self.order:
            case "runs":
                return np.repeat(order, counts[order])
            case "descending":
                return np.repeat(np.arange(rows), counts)[::-1].copy()
        tokens = np.repeat(order, counts[order])[_shuffle(seed, "tokens", numel)]
        seen = np.count_nonzero(counts)
        if 1 < seen < numel and np.count_nonzero(np.diff(tokens)) + 1 == seen:
            # Chance has left each row's tokens together: one of them goes to the other end.
            split = int(counts.argmax())
            place = np.flatnonzero(tokens == split)
            others = np.delete(tokens, place[:2])
            tokens = np.concatenate(([split], others[others != split], others[others == split], [split]))
        return tokens

    def _counts(self, numel: int, rows: int, padding: int | None, seed: int) -> Ints:
        counts, free = np.zeros(rows, np.int64), np.ones(rows, np.bool_)
        left = numel
        if padding is not None and self.padding >= 0:
            counts[padding], free[padding] = min(self.padding, left), False
            left -= int(counts[padding])
        for row, asked in ((0, self.first), (-1, self.last)):
            if asked == 1 and free[row] and left and not counts[row]:
                counts[row], left = 1, left - 1
            free[row] &= asked != 0
        places = np.flatnonzero(free)
        if not len(places):
            counts[0 if padding is None else padding] += left
            return counts
        places = places[_shuffle(seed, "places", len(places))]
        if self.equal == 1:
            return _equal(counts, places, left, self.most)
        if self.most and left and counts.max() < self.most:
            top = np.flatnonzero((counts > 0) & free)[:1] if seed % 3 == 0 else places[:1]
            top = top if len(top) else places[:1]
            given = min(self.most - int(counts[top[0]]), left)
            counts[top[0]] += given
            left -= given
        return _filled(counts, places, left, self.most or numel, seed)


def _shuffle(seed: int, name: str, count: int) -> Ints:
    return stream.order(stream.derive("counted", name, seed), count)


def _equal(counts: Ints, places: Ints, left: int, most: int) -> Ints:
    """As many rows as can be, each alike often as those that are there already."""
    counts[places] = np.minimum(counts[places], 1)
    start = int(counts[places].sum())
    each = most or int(counts.max()) or next(k for k in (3, 2, 1) if (left + start) % k == 0)
    first = places[np.argsort(counts[places] == 0, kind="stable")]  # what must occur comes first
    several = (left + start) // each
    counts[first] = 0
    counts[first[:several]] = each
    counts[first[0]] += left + start - int(counts[first].sum())
    return counts


def _filled(counts: Ints, places: Ints, left: int, cap: int, seed: int) -> Ints:
    """The rest in turn to all rows, row by row until each is full, or at random, by the seed; none gets more than ``cap``
    while there is room."""
    kind = seed // 3 % 3
    if kind == 0 and left:
        drawn = stream.below(stream.derive("counted", "fill", seed), left, len(places))
        wanted = np.bincount(drawn, minlength=len(places))
    elif kind == 1:
        wanted = np.full(len(places), left // len(places), np.int64)
    else:
        wanted = np.full(len(places), cap, np.int64)
    room = np.maximum(cap - counts[places], 0)
    for asked in (wanted, room):
        given = np.minimum(asked, np.maximum(cap - counts[places], 0))
        given = np.diff(np.minimum(np.cumsum(given), left), prepend=0)
        counts[places] += given
        left -= int(given.sum())
    counts[places[0]] += left
    return counts


def tokens_of(name: str, numel: int, rows: int, padding: int | None, seed: int) -> Ints:
    """The tokens that a pattern's name says, of those in `embcheck.core.pattern` or made of counts; shape ``(numel,)``."""
    counts = Counts.of(name)
    if counts is not None:
        return counts.tokens(numel, rows, padding, seed)
    return PATTERNS[name](numel, rows, padding, seed)


def told(tokens: Ints, rows: int, padding: int | None) -> dict[str, Any]:
    """What tokens of a table are like: numel, max_count, unequal_counts, interleaved, descending, first_row, last_row,
    padding (none, first, middle or last), padding_count, padding_hit, all_padding."""
    counts = np.bincount(tokens, minlength=rows)
    seen = counts[counts > 0]
    steps = np.diff(tokens)
    inside = padding is not None and 0 <= padding < rows
    hit = int(counts[padding]) if inside else 0
    return {
        "numel": tokens.size,
        "max_count": int(seen.max()) if seen.size else 0,
        "unequal_counts": bool(seen.size and seen.min() != seen.max()),
        "interleaved": bool(np.count_nonzero(steps) + 1 > seen.size > 0),
        "descending": bool(steps.size and (steps < 0).all()),
        "first_row": bool(rows and counts[0]),
        "last_row": bool(rows and counts[-1]),
        "num_embeddings": rows,
        "padding": place_of(padding, rows),
        "padding_count": hit,
        "padding_hit": hit > 0,
        "all_padding": 0 < hit == tokens.size,
    }


def place_of(padding: int | None, rows: int) -> str:
    """Where in a table its padding row is: none, first, middle or last."""
    if padding is None or not 0 <= padding < rows:
        return "none"
    return "first" if padding == 0 else "last" if padding == rows - 1 else "middle"
