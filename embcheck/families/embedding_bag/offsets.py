"""How a sequence of tokens is cut into bags."""

import itertools
from collections.abc import Iterator

import numpy as np

from embcheck.core import stream
from embcheck.core.pattern import Ints

#: How tokens are cut into bags: the names of `lengths_of`.
BAGS = ("pairs", "one", "unequal", "singletons", "fours", "empty_first", "empty_middle", "empty_last", "scattered", "powers",
        "long_last")  # fmt: skip


def lengths_of(pattern: str, numel: int, seed: int) -> Ints:
    """The lengths of the bags that a pattern names, summing to ``numel``; without tokens all bags are empty."""
    if not numel:
        return np.zeros(0 if pattern == "one" else 1 + seed % 4, np.int64)
    match pattern:
        case "one":
            return np.array([numel], np.int64)
        case "singletons":
            return np.ones(numel, np.int64)
        case "pairs" | "fours":
            each = 2 if pattern == "pairs" else 4
            return np.array([each] * (numel // each) + [numel % each] * (numel % each > 0), np.int64)
        case "powers":  # 1, 2, 4, 8 and again, as long as they fit
            powers: list[int] = []
            while numel > sum(powers):
                left = numel - sum(powers)
                powers.append(min(1 << len(powers) % 4, 1 << left.bit_length() - 1))
            return np.array(powers, np.int64)
        case "long_last":
            return np.array([1, 0, numel - 1], np.int64)
    count = 1 + numel // 3
    cuts = np.sort(stream.below(stream.derive("bags", pattern, seed), count, numel + 1))
    lengths = np.diff(np.r_[0, cuts, numel])
    none = np.zeros(1 + seed % 2, np.int64)
    match pattern:
        case "unequal":
            return np.extract(lengths > 0, lengths)
        case "empty_first":
            return np.concatenate((none, lengths[lengths > 0]))
        case "empty_last":
            return np.concatenate((lengths[lengths > 0], none))
        case "empty_middle":
            middle = len(lengths) // 2
            return np.concatenate((lengths[:middle], none, lengths[middle:]))
        case "scattered":
            return np.stack([lengths, np.zeros_like(lengths)], 1).reshape(-1)
    raise KeyError(f"no bags {pattern!r}; there are {', '.join(BAGS)}")


def cuts(numel: int, most: int = 3) -> Iterator[tuple[int, ...]]:
    """Every way to cut ``numel`` tokens into up to ``most`` bags, empty ones included."""
    for count in range(most + 1):
        for lengths in itertools.product(range(numel + 1), repeat=count):
            if sum(lengths) == numel:
                yield lengths


def _mistake_of(offsets: tuple[int, ...], numel: int) -> str | None:
    """What is wrong with offsets of ``numel`` tokens."""
    if offsets[0]:
        return "offsets_from_one"
    if offsets[-1] > numel:
        return "offsets_beyond"
    if max(offsets) > numel:
        return "offsets_beyond_inside"
    if min(offsets[:-1], default=0) < 0:
        return "offsets_negative"
    if offsets[-1] < 0:
        return "offsets_negative_last"
    return "offsets_decrease" if any(b < a for a, b in itertools.pairwise(offsets)) else None


def _wrong_offsets(numel: int) -> dict[str, tuple[tuple[int, ...], ...]]:
    found: dict[str, list[tuple[int, ...]]] = {}
    for count in (1, 2, 3, 4):
        values = range(-2, numel + 3) if count < 4 else (0, 1, numel)
        for offsets in itertools.product(values, repeat=count):
            name = _mistake_of(offsets, numel)
            # Of those that start wrong, one of each start says as much as all.
            if name is not None and (name != "offsets_from_one" or len(set(offsets)) == 1):
                found.setdefault(name, []).append(offsets)
    return {name: tuple(several) for name, several in found.items()}


#: How many tokens the wrong offsets belong to; and by what is wrong all of up to three offsets, and some of four.
WRONGLY_CUT = 4
WRONG_OFFSETS = _wrong_offsets(WRONGLY_CUT)
