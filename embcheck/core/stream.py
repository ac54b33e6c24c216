"""Numbers that are the same everywhere: splitmix64 over numpy.

A generator's stream may change between releases of the library that owns it, and then "the same seed" no longer
means the same cases.  So every number here comes from a formula: ``splitmix64(state + k·γ)`` (Steele, Lea and
Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014), evaluated for all k at once.
"""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

T = TypeVar("T")

_MASK = (1 << 64) - 1
_GAMMA, _FIRST, _SECOND = map(np.uint64, (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB))
_30, _27, _31 = map(np.uint64, (30, 27, 31))


def words(seed: int, count: int) -> npt.NDArray[np.uint64]:
    """``count`` 64-bit words of the stream that ``seed`` names, all different, shape ``(count,)``."""
    z = np.arange(1, count + 1, dtype=np.uint64)
    z *= _GAMMA
    z += np.uint64(seed & _MASK)
    z ^= z >> _30
    z *= _FIRST
    z ^= z >> _27
    z *= _SECOND
    z ^= z >> _31
    return z


def order(seed: int, count: int) -> npt.NDArray[np.int64]:
    """The positions of ``count`` things in an order that only ``seed`` decides: that of its words."""
    return words(seed, count).argsort(kind="stable")  # no two are equal, and of so few this is twice as fast


def below(seed: int, count: int, bound: int) -> npt.NDArray[np.int64]:
    """``count`` integers in ``[0, bound)``; the modulo's bias is below 2^-32 for bounds below 2^32."""
    return (words(seed, count) % np.uint64(bound)).astype(np.int64)


def derive(*parts: object) -> int:
    """A 63-bit seed from the names of what it is for, independent of the process, the machine and hash seeds."""
    text = "\x1f".join(str(part) for part in parts)
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def small(name: str, seed: int, shape: tuple[int, ...], limit: int = 4) -> npt.NDArray[np.float64]:
    """Integers in ``[-limit, limit]`` for what ``name`` says, of a shape."""
    found = below(derive(name, seed), int(np.prod(shape)), 2 * limit + 1)
    return (found.astype(np.float64) - limit).reshape(shape)


class Stream:
    """A cursor over the words of one seed, read in blocks because one numpy call costs as much as a thousand words."""

    __slots__ = ("_block", "_next", "_words", "seed")

    def __init__(self, seed: int, block: int = 256) -> None:
        self.seed = seed
        self._block = block
        self._words: list[int] = []
        self._next = 0

    def word(self) -> int:
        if self._next == len(self._words):
            self.seed = derive(self.seed, "block")
            self._words = words(self.seed, self._block).tolist()
            self._next = 0
        self._next += 1
        return self._words[self._next - 1]

    def choice(self, values: Sequence[T]) -> T:
        """One of ``values``, uniformly."""
        return values[self.word() % len(values)]

    def chance(self, one_in: int) -> bool:
        """True once in ``one_in`` times."""
        return self.word() % one_in == 0

    def between(self, low: int, high: int) -> int:
        """An integer in ``[low, high]``."""
        return low + self.word() % (high - low + 1)


#: Lengths of axes, on both sides of what kernels look at.
ROWS, COLUMNS = (1, 2, 3, 8, 17), (1, 2, 7, 8, 17, 33, 70)


def shaped(draws: Stream, ranks: Sequence[int] = (1, 2, 3)) -> tuple[int, ...]:
    """A shape of so many axes, now and then of one element, of more than a thousand, or of none, or with a square in front."""
    rank = draws.choice(ranks)
    lengths = {0: (), 1: ((*ROWS, *COLUMNS),), 2: (ROWS, COLUMNS)}.get(
        rank, (ROWS, *((1, 2, 3),) * (rank - 2), COLUMNS)
    )
    found = [draws.choice(each) for each in lengths]
    if rank > 1 and draws.chance(4):
        found[1] = found[0]
    if found and draws.chance(4):
        place = draws.between(0, rank - 1)
        found[place] *= draws.choice((0, 1024 // math.prod(found) + 1))
    return (1,) * rank if draws.chance(16) else tuple(found)


def shuffled(seed: int, values: Sequence[T]) -> list[T]:
    """``values`` in an order that only ``seed`` decides."""
    return [values[k] for k in order(seed, len(values)).tolist()]
