"""Every pattern keeps its promise, for no tokens, one row and no padding too."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from embcheck.core.pattern import PATTERNS, STRAYS, occurrence, stray_of

EVERY = [
    (numel, rows, padding, seed)
    for numel in (0, 1, 2, 3, 4, 7, 30)
    for rows in (1, 2, 3, 8)
    for padding in (None, *{0, rows // 2, rows - 1})
    for seed in (0, 1, 5, 255)
]


def tokens(name: str, numel: int, rows: int, padding: int | None = None, seed: int = 0) -> list[int]:
    found: list[int] = PATTERNS[name](numel, rows, padding, seed).tolist()
    return found


@pytest.mark.parametrize("name", PATTERNS)
def test_tokens_lie_in_the_table_and_are_reproducible(name: str) -> None:
    for numel, rows, padding, seed in EVERY:
        found = PATTERNS[name](numel, rows, padding, seed)
        assert found.dtype == np.int64
        assert found.shape == (numel,)
        assert all(0 <= token < rows for token in found.tolist()), (numel, rows, padding, seed)
        assert found.tolist() == tokens(name, numel, rows, padding, seed)


@pytest.mark.parametrize("name", PATTERNS)
def test_a_table_without_rows_takes_no_tokens(name: str) -> None:
    assert tokens(name, 0, 0) == []


@pytest.mark.parametrize("name", sorted(set(PATTERNS) - {"cycle", "padding", "ends"}))
def test_the_seed_matters(name: str) -> None:
    assert len({tuple(tokens(name, 30, 8, seed=seed)) for seed in range(8)}) > 1


def test_cycle() -> None:
    assert tokens("cycle", 7, 3) == [0, 1, 2, 0, 1, 2, 0]


def test_same() -> None:
    assert all(len(set(tokens("same", 9, rows, seed=seed))) == 1 for rows in (1, 5) for seed in range(9))


def test_padding() -> None:
    assert tokens("padding", 3, 5, 2) == [2, 2, 2]
    assert tokens("padding", 3, 5) == [4, 4, 4]


def test_uniform_reaches_every_row() -> None:
    assert set(tokens("uniform", 200, 8)) == set(range(8))


def test_unpadded() -> None:
    for padding in range(5):
        assert set(tokens("unpadded", 300, 5, padding)) == set(range(5)) - {padding}
    assert set(tokens("unpadded", 300, 5)) == set(range(5)), "nothing to avoid without padding"
    assert tokens("unpadded", 2, 1, 0) == [0, 0], "one row leaves no choice"


def test_skewed() -> None:
    counts = Counter(tokens("skewed", 4000, 50))
    assert counts[0] > 10 * max(counts[row] for row in range(25, 50))
    assert len(counts) > 25


def test_unequal() -> None:
    for numel in range(4, 40):
        for seed in range(5):
            assert sorted(Counter(tokens("unequal", numel, 3, seed=seed)).values()) == sorted([1, 2, numel - 3])
    assert tokens("unequal", 12, 3) != sorted(tokens("unequal", 12, 3)), "interleaved"


def test_ascending_and_descending() -> None:
    up = tokens("ascending", 30, 8, seed=3)
    assert up == sorted(up)
    assert len(set(up)) < len(up), "has runs"
    assert tokens("descending", 30, 8, seed=3) == up[::-1]


def test_permutation() -> None:
    for seed in range(5):
        found = tokens("permutation", 20, 8, seed=seed)
        assert sorted(found[:8]) == list(range(8))
        assert found[8:16] == found[:8]


def test_ends() -> None:
    assert set(tokens("ends", 6, 5)) == {0, 4}
    assert all(a != b for a, b in zip(tokens("ends", 6, 5), tokens("ends", 6, 5)[1:], strict=False))
    assert tokens("ends", 1, 5) == [4]


def test_pairs() -> None:
    found = tokens("pairs", 10, 8, seed=3)
    assert found[::2] == found[1::2]
    assert all(a != b for a, b in zip(found[1::2], found[2::2], strict=False))


def test_late_padding() -> None:
    found = tokens("late_padding", 9, 5, 2)
    assert found[6:] == [2, 2, 2]
    assert 2 not in found[:6]
    assert len(set(tokens("late_padding", 90, 5))) == 5


def test_strays_lie_outside() -> None:
    for name, out_of_range in STRAYS.items():
        for rows in (0, 1, 2, 3, 1000):
            assert not 0 <= out_of_range(rows) < rows, (name, rows)
            narrow = stray_of(name, rows, "int32")
            assert not 0 <= narrow < rows, (name, rows)
            assert -(2**31) <= narrow < 2**31, "they must fit int32"
    assert (STRAYS["-1"](7), STRAYS["V"](7), STRAYS["-V"](7), STRAYS["-V-1"](7), STRAYS["V+1"](7)) == (-1, 7, -7, -8, 8)


def test_occurrence_counts_what_came_before() -> None:
    for name in PATTERNS:
        for numel in (0, 1, 2, 17):
            found = PATTERNS[name](numel, 3, 1, 4)
            before = [found.tolist()[:k].count(token) for k, token in enumerate(found.tolist())]
            assert occurrence(found).tolist() == before
