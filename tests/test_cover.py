"""What a cover of two axes reaches, recounted: pairs of values that its cases have, that they lack, and that no case can have."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from embcheck.core.space import Space
from embcheck.core.stream import Stream
from embcheck.core.tiers import CORE
from embcheck.subject.collect import load_families

FAMILIES = load_families()
#: Of each core family: pairs of two axes' values that the cover has, possible ones that it lacks, and impossible ones.
PAIRS = {
    "lookup": (4165, 7, 302),
    "one_hot": (1643, 6, 27),
    "gradient": (7469, 6, 436),
    "gradient_routes": (6981, 0, 421),
    "padding": (7034, 6, 402),
    "padding_row_training": (378, 2, 49),
    "conversion": (9325, 37, 312),
    "tied_training": (20739, 584, 4250),
    "tie_preservation": (3987, 22, 209),
    "tie_export": (315, 0, 1),
    "embedding_bag": (13414, 170, 643),
    "max_norm": (9766, 70, 538),
    "construction": (2457, 4, 232),
    "default_init": (89, 0, 0),
}
#: Cases that are tried before a pair counts as impossible.
TRIES = 24


def pairs_of(space: Space, case: Any) -> Iterator[Any]:
    told = [(name, repr(getattr(case, name))) for name in space.axes]
    return itertools.combinations(told, 2)


def possible(space: Space, pair: Any) -> bool:
    """Whether some case has both values, the other axes as they come."""
    values = {name: next(v for v in space.axes[name] if repr(v) == told) for name, told in pair}
    draws = Stream(len(repr(pair)))
    for turn in range(TRIES):
        other = {name: axis[0] if turn == 0 else draws.choice(axis) for name, axis in space.axes.items()}
        case = space.repair(space.case_type(**{**other, **values}))
        if case is not None and all(repr(getattr(case, name)) == told for name, told in pair):
            return True
    return False


def counted(space: Space) -> tuple[int, int, int]:
    named = [[(name, repr(value)) for value in values] for name, values in space.axes.items()]
    declared = {pair for one, other in itertools.combinations(named, 2) for pair in itertools.product(one, other)}
    reached = {pair for case in space.cover(2, 0) for pair in pairs_of(space, case)}
    lacked = [possible(space, pair) for pair in sorted(declared - reached)]
    return len(declared & reached), sum(lacked), len(lacked) - sum(lacked)


@pytest.mark.parametrize("name", [name for name in CORE if name != "tutorial_claims"])
def test_the_cover_has_as_many_pairs_as_are_told(name: str) -> None:
    assert counted(FAMILIES[name].space) == PAIRS[name]
